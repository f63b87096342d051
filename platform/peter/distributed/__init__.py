"""The only floor that knows Ray: programs that run in other processes, here or on a cluster."""

import os

QUIET = {
    "RAY_AIR_NEW_OUTPUT": "0",  # the new output prints a table whatever the verbosity
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # or Tune would take Ctrl-C for the regular end of a search
    "TUNE_GLOBAL_CHECKPOINT_S": "2",  # seconds of a search that a killed driver may forget
}
for key, value in QUIET.items():  # here, so that it is done before any module of this package imports Ray
    os.environ.setdefault(key, value)
