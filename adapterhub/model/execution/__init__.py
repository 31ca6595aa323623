"""One call: plan -> trunk and branches -> answers; resident tasks, known answers, checks."""
