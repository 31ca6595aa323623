"""One call: plan -> trunk and branches -> predictions; resident tasks, known answers, checks."""
