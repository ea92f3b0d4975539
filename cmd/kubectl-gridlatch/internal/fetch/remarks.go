package fetch

import (
	"fmt"
	"time"

	"github.com/gridlatch/gridlatch/forecast"
	"github.com/gridlatch/gridlatch/plan"
)

// Name names the zone, the provider and the signal: "zone DE of Energy-Charts, average".
func (d Data) Name() string { return d.Origin().String() }

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
	if missing, span := d.missing(); missing > 0 {
		remark("%s of %s are not known", plan.FormatDuration(missing), plan.FormatDuration(span))
	}
	if d.BadElements > 0 {
		remark("%d of %d elements cannot be read; the first: %s", d.BadElements, d.Elements, d.Problem)
	}
	if d.Doubted > 0 {
		remark("%s", d.doubt())
	}
	if d.Estimated > 0 {
		remark("estimated by the provider: %d of %d values", d.Estimated, d.Elements)
	}
	return remarks
}

// missing returns how much of the span is not known: of the one that was asked for, up to the last
// full hour, or of the one that the forecast covers. Providers also answer with elements outside the
// span. Therefore the elements without a value do not tell this.
func (d Data) missing() (missing, span time.Duration) {
	from, to := d.From, d.To.Truncate(time.Hour)
	if to.IsZero() {
		from, to = d.Series.Start(), d.Series.End()
	}
	_, covered := d.Series.Mean(from, to)
	return to.Sub(from) - covered, to.Sub(from)
}

// doubt says which values are not believed: those of the first page with such values, and how many
// others there are.
func (d Data) doubt() string {
	if others := d.Doubted - d.doubtedFirst; others > 0 {
		return fmt.Sprintf("%s; and %d other values", d.Doubt, others)
	}
	return d.Doubt
}
