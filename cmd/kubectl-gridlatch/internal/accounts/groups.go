package accounts

import (
	"cmp"
	"slices"

	"github.com/gridlatch/gridlatch/ledger"
)

// GroupRow is a group of work with its account, from which anybody can compute the account again.
type GroupRow struct {
	ledger.Group
	Joules       float64 `json:"joules"`
	FailedJoules float64 `json:"failedJoules"`
	// The emissions are in gCO2eq. They are nil if the actual intensities are not known.
	Grams       *float64 `json:"grams"`
	FailedGrams *float64 `json:"failedGrams"`
	OtherGrams  *float64 `json:"otherGrams"`
	SavedGrams  *float64 `json:"savedGrams"`
	OracleGrams *float64 `json:"oracleGrams"`
}

// groups returns the groups of a question that the pages have one by one, in the order in which the
// groups ended.
func (l *Ledger) groups(q Question) []GroupRow {
	rows := []GroupRow{}
	for _, page := range l.Pages {
		for _, group := range page.Groups() {
			if q.Namespace == "" || group.Namespace == q.Namespace {
				rows = append(rows, newGroupRow(group, group.Account(l.Actuals)))
			}
		}
	}
	slices.SortStableFunc(rows, func(a, b GroupRow) int {
		return cmp.Or(a.Ended.Compare(b.Ended), cmp.Compare(a.UID, b.UID))
	})
	return rows
}

func newGroupRow(g ledger.Group, a ledger.Account) GroupRow {
	return GroupRow{
		Group: g, Joules: finite(a.Joules), FailedJoules: finite(a.FailedJoules),
		Grams: known(a.Grams, a.IsKnown), FailedGrams: known(a.FailedGrams, a.IsKnown),
		OtherGrams: known(a.OtherGrams, a.IsCompared), SavedGrams: known(g.SavedGrams(a), a.IsCompared),
		OracleGrams: known(a.OracleGrams, a.HasOracle),
	}
}

// KWh returns the energy in kilowatt-hours.
func (r GroupRow) KWh() float64 { return kWh(r.Joules) }
