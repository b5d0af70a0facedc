"""Layer 4: workers from outside: started, placed, given tasks, heard, replaced, ended."""
