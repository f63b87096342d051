"""One function a verb of the command line, in a room for each noun of the field.

An import between rooms may only go down; `tests/test_architecture.py` holds it:

    demo                  the whole path once
    lifecycle | transfer  versions moved to another backbone, fitted again without a user | exported, imported
    version               trained, tuned, compared, registered
    promotion             baselines, twins, the gate: who is champion
    integrity | profile   certificates, verify, repair, gc, audit | every champion's answers for users
    patch                 what is asked for, fitted, stored
    task | event_log      kinds, labelled users, what there is to know | imported, and how much of it is known
    backbone              pre-trained and frozen
    logs forgotten        event logs opened, and who is to be left out of them
    crew running runs     who does long work, and what the registry knows of it
    workspace             a registry and its store, opened together

What every room stands on is in none of them, as `peter.config` is at the top of `peter`; nor is `demo`, which
uses them all. Verbs are beside what they are made of: `cli/task.py` calls `task`, `version` and `promotion`.
Who was forgotten is left out wherever events or labels are read, so that is at the bottom; forgetting
somebody fits patches again, so that is at the top.
"""
