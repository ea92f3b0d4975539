package ledger

// NewSteps returns the power of all attempts over time: at most MaxSteps steps with the energy of the
// attempts. Attempts without a length are left out.
func NewSteps(attempts []Attempt) []Step { panic("core") }
