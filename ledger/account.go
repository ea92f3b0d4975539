package ledger

// minCovered is the least share of the energy of a profile whose intensity must be known. The rest counts
// with the mean of what is known.
const minCovered = 0.95

// Account is what a group came to. Energies are in joules, emissions in gCO2eq.
type Account struct {
	Joules, FailedJoules float64
	// IsKnown says that the intensities over the run are known. Grams and FailedGrams are 0 otherwise.
	IsKnown            bool
	Grams, FailedGrams float64
	// IsCompared says that the intensities over the other run are known, too: the same profile moved to
	// the arrival (Enforce), or to the start that was planned (Audit). OtherGrams is 0 otherwise.
	IsCompared bool
	OtherGrams float64
	// HasOracle says that the intensities over all possible runs are known, from the arrival to the end
	// of a run from the latest start. OracleGrams are the emissions of the best of them; 0 otherwise.
	HasOracle   bool
	OracleGrams float64
}

// Account returns what a group came to, by the actual intensities.
func (g Group) Account(actuals Actuals) Account { panic("core") }

// SavedGrams returns what waiting saved, in gCO2eq; negative if waiting made the work dirtier. With Audit
// it is what waiting would have saved. It is 0 if nothing is compared.
func (g Group) SavedGrams(a Account) float64 { panic("core") }
