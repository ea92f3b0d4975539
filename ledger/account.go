package ledger

import (
	"time"

	"github.com/gridlatch/gridlatch/forecast"
)

// minCovered is the least share of the energy of a profile whose intensity must be known. The rest
// counts with the mean of what is known.
const minCovered = 0.95

// Account is what a group came to. Energies are in joules, emissions in gCO2eq.
type Account struct {
	Joules       float64 `json:"joules"`
	FailedJoules float64 `json:"failedJoules,omitempty"`
	// IsKnown says that the intensities over the run are known. Grams and FailedGrams are 0
	// otherwise.
	IsKnown     bool    `json:"isKnown,omitempty"`
	Grams       float64 `json:"grams,omitempty"`
	FailedGrams float64 `json:"failedGrams,omitempty"`
	// IsCompared says that the intensities over the other run are known, too: the same profile
	// moved to the arrival (Enforce), or to the start that was planned (Audit). OtherGrams is 0
	// otherwise.
	IsCompared bool    `json:"isCompared,omitempty"`
	OtherGrams float64 `json:"otherGrams,omitempty"`
	// HasOracle says that the intensities over the possible runs are known, from the arrival to the
	// end of a run from the latest start. OracleGrams are the emissions of the best of them; 0
	// otherwise.
	HasOracle   bool    `json:"hasOracle,omitempty"`
	OracleGrams float64 `json:"oracleGrams,omitempty"`
}

// Account returns what a group came to, by the actual intensities.
func (g Group) Account(actuals Actuals) Account {
	g = g.clean()
	here, there := g.series(actuals)
	return g.account(here, there)
}

// series returns the actual intensities where the group ran, and where it would have run otherwise.
func (g Group) series(actuals Actuals) (here, there *forecast.Series) {
	if actuals == nil {
		return nil, nil
	}
	here = actuals(g.Source, g.Location)
	if g.OtherLocation == g.Location {
		return here, here
	}
	return here, actuals(g.Source, g.OtherLocation)
}

// account returns what a clean group came to.
func (g Group) account(here, there *forecast.Series) Account {
	p := newProfile(g.Steps)
	a := Account{Joules: p.joules, FailedJoules: p.failedJoules}
	if a.Grams, a.FailedGrams, a.IsKnown = p.grams(here); !a.IsKnown {
		a.Grams, a.FailedGrams = 0, 0
	}
	if g.Failed {
		a.FailedJoules, a.FailedGrams = a.Joules, a.Grams
	}
	switch {
	case !a.IsKnown:
		return a
	case g.Wait == 0 && g.Pauses == 0 && g.OtherLocation == g.Location:
		a.OtherGrams, a.IsCompared = a.Grams, true
	default:
		through := p.withoutPauses(g.Pauses, g.RestartCost)
		a.OtherGrams, a.IsCompared = through.movedBy(g.otherShift()).known(there)
	}
	if !a.IsCompared {
		return a
	}
	a.OtherGrams = p.unlessEqual(a.OtherGrams, a.Grams)
	through := p.withoutPauses(g.Pauses, g.RestartCost)
	best, ok := through.best(here, g.slack())
	if ok && g.OtherLocation != g.Location {
		elsewhere, known := through.best(there, g.slack())
		best, ok = min(best, elsewhere), known
	}
	if ok {
		had := min(a.Grams, a.OtherGrams)
		a.OracleGrams, a.HasOracle = min(p.unlessEqual(best, had), had), true
	}
	return a
}

// RunThrough returns how long the work would have run without pauses and restarts.
func (g Group) RunThrough() time.Duration {
	g = g.clean()
	p := newProfile(g.Steps).withoutPauses(g.Pauses, g.RestartCost)
	if len(p.stretches) == 0 {
		return 0
	}
	return time.Duration(p.stretches[len(p.stretches)-1].end - p.stretches[0].start)
}

// knows counts what is known of the group.
func (a Account) knows() int {
	known := 0
	for _, is := range []bool{a.IsKnown, a.IsCompared, a.HasOracle} {
		if is {
			known++
		}
	}
	return known
}

// otherShift returns by how much later the other run would have begun: negative with Enforce.
func (g Group) otherShift() time.Duration {
	if g.Mode == Audit {
		return g.Wait
	}
	return -g.Wait
}

// slack returns by how much later or earlier the run could have begun: from the arrival to the
// latest start. Work without a latest start could begin at its arrival only.
func (g Group) slack() span {
	first := g.Arrived.Sub(g.Released)
	if g.Mode == Audit {
		first = 0
	}
	if !g.LatestStart.After(g.Arrived) {
		return span{int64(first), int64(first)}
	}
	return span{int64(first), int64(first) + int64(g.LatestStart.Sub(g.Arrived))}
}

// SavedGrams returns what waiting saved, in gCO2eq; negative if waiting made the work dirtier. With
// Audit it is what waiting would have saved. It is 0 if nothing is compared.
func (g Group) SavedGrams(a Account) float64 {
	switch {
	case !a.IsCompared:
		return 0
	case g.Mode == Audit:
		return a.Grams - a.OtherGrams
	default:
		return a.OtherGrams - a.Grams
	}
}

// OracleSavedGrams returns what perfect foresight would have saved against the run at the arrival,
// in gCO2eq: never less than 0, nor less than SavedGrams. It is 0 if the oracle is not known.
func (g Group) OracleSavedGrams(a Account) float64 {
	switch {
	case !a.HasOracle:
		return 0
	case g.Mode == Audit:
		return a.Grams - a.OracleGrams
	default:
		return a.OtherGrams - a.OracleGrams
	}
}
