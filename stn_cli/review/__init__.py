"""Look and correct: a page in the browser, on this machine only, and the journal that every action is on before the next."""
