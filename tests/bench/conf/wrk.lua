-- Called once, after the run: exact counts at no cost to the load.
function done(summary)
   local e = summary.errors
   io.write(string.format('\nRESULT {"requests": %d, "micros": %d, "bytes": %d, "errors": %d}\n',
      summary.requests, summary.duration, summary.bytes,
      e.connect + e.read + e.write + e.timeout + e.status))
end
