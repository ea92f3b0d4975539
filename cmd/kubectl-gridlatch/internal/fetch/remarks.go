package fetch

import (
	"fmt"

	"github.com/gridlatch/gridlatch/forecast"
	"github.com/gridlatch/gridlatch/plan"
)

// Name names the zone, the provider and the signal: "zone DE of Energy-Charts, average".
func (d Data) Name() string {
	name := fmt.Sprintf("zone %s of %s", d.Zone, d.Description.Source)
	if signal := d.Signal.String(); signal != "" {
		name += ", " + signal
	}
	return name
}

// Origin says where the values come from.
func (d Data) Origin() forecast.Origin {
	return forecast.Origin{Provider: d.Description.Source, Zone: d.Zone, Signal: d.Signal, IsMadeUp: d.Description.IsMadeUp}
}

// Remarks says what is missing, and what is not as good as the rest, a sentence each.
func (d Data) Remarks() []string {
	var remarks []string
	remark := func(format string, values ...any) {
		remarks = append(remarks, d.Name()+": "+fmt.Sprintf(format, values...))
	}
	if d.Incomplete != nil {
		remark("only a part of the past is there: %v", d.Incomplete)
	}
	if asked := d.To.Sub(d.From); asked > 0 {
		if _, covered := d.Series.Mean(d.From, d.To); covered < asked {
			remark("%s of %s are not known", plan.FormatDuration(asked-covered), plan.FormatDuration(asked))
		}
	}
	if d.BadElements > 0 {
		remark("%d of %d elements cannot be read; the first: %s", d.BadElements, d.Elements, d.Problem)
	}
	if d.Unknown > 0 {
		remark("no value in %d of %d elements", d.Unknown, d.Elements)
	}
	if d.Doubted > 0 {
		remark("%s", d.doubt())
	}
	if d.Estimated > 0 {
		remark("estimated by the provider: %d of %d values", d.Estimated, d.Elements)
	}
	return remarks
}

// doubt says which values are not believed: those of the first page with such values, and how many
// others there are.
func (d Data) doubt() string {
	if others := d.Doubted - d.doubtedFirst; others > 0 {
		return fmt.Sprintf("%s; and %d other values", d.Doubt, others)
	}
	return d.Doubt
}
