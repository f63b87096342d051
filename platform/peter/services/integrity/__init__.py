"""Nothing missing, nothing changed, nothing left over: certificates, verify, repair, gc, audit."""
