package render

import (
	"github.com/gridlatch/gridlatch/cmd/kubectl-gridlatch/internal/accounts"
	"github.com/gridlatch/gridlatch/ledger"
)

// coreHoursHeading heads the column of core-hours.
const coreHoursHeading = "CORE-HOURS"

// shares returns the tables of a report of the whole cluster that say how much could wait at all, how much
// of that waited, and what the rest could not gain.
func shares(r accounts.Report) []sheet {
	var all []sheet
	if r.Namespace != "" {
		return nil
	}
	if r.Census != nil {
		all = append(all, censusSheet(*r.Census))
	}
	if rest := restSheet(r.Sections); len(rest.rows) > 0 {
		all = append(all, rest)
	}
	return all
}

// censusSheet returns the table of what ran in the cluster.
func censusSheet(c accounts.Census) sheet {
	return sheet{
		title: "How much of what the cluster ran could wait at all, by the cores that pods request", texts: 1,
		header: []string{"PODS", coreHoursHeading, "SHARE"},
		rows: [][]string{
			{"all that ran", accounts.Number(c.CoreHours), ""},
			{"of these, could wait", accounts.Number(c.ElasticCoreHours), percentOf(c.ElasticPercent, false)},
			{"of these, waited", accounts.Number(c.HeldCoreHours), percentOf(c.HeldPercent, false)},
		},
	}
}

// restSheet returns the table of the work that could wait and started at once.
func restSheet(sections []accounts.Section) sheet {
	most := 0.0
	for _, s := range sections {
		most = max(most, s.Total.UnheldOracleSavedGrams)
	}
	unit := accounts.GramUnit(most)
	table := sheet{
		title: "What the rest could not gain: work that could wait and started at once", texts: 1,
		header: []string{"WORK", coreHoursHeading, "STARTED AT ONCE", "SHARE", "BEST POSSIBLE " + unit.Name},
	}
	for _, s := range sections {
		f := s.Total
		if !(f.CoreHours > 0) {
			continue
		}
		work := "by Gridlatch's decisions"
		if s.Mode == ledger.Audit {
			work = "audited, as it would have been"
		}
		table.rows = append(table.rows, []string{
			work, accounts.Number(f.CoreHours), accounts.Number(f.AtOnceCoreHours()), percentOf(f.AtOncePercent(), false), accounts.Number(f.UnheldOracleSavedGrams / unit.Size),
		})
	}
	return table
}
