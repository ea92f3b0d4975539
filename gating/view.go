package gating

import (
	"math"
	"time"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/forecast"
)

// view is what a policy knows of one of its locations at a moment.
type view struct {
	name          string
	known         bool    // there is an intensity for now
	intensity     float64 // it
	issued, until time.Time
	expected      forecast.Prediction
	missing       string // why the forecast is not usable
}

// views returns one view for each location of the policy, the default first.
func (p *Policy) views(book *forecast.Snapshot, now time.Time) []view {
	names := []string{""}
	if len(p.spec.Locations) > 0 {
		names = nil
		for _, l := range p.spec.Locations {
			names = append(names, l.Name)
		}
	}
	views := make([]view, len(names))
	for i, name := range names {
		views[i] = p.view(book, name, now)
	}
	return views
}

func (p *Policy) view(book *forecast.Snapshot, name string, now time.Time) view {
	v := view{name: name}
	e, f, missing := p.prediction(book, name, now)
	v.expected, v.missing = e, missing
	v.issued, v.until = f.Issued, f.Series.End()
	v.intensity, v.known = f.Series.At(now)
	if !v.known {
		v.intensity, v.known = e.Series.At(now)
	}
	if name == "" {
		v.name = f.Location
	}
	return v
}

// usable reports whether work can be held by the forecast.
func (v *view) usable() bool {
	return v.expected.Basis == forecast.BasisForecast || v.expected.Basis == forecast.BasisStaleForecast
}

// learned says how far the model has come: of how many days it has learned, and, when
// these are enough, what share of the possible saving its predictions would have had,
// in percent.
func (v *view) learned() (days int32, share *int32) {
	days = min(int32(v.expected.LearnedTime.Hours()/24), v1alpha1.DaysToLearn)
	if days < v1alpha1.DaysToLearn || math.IsNaN(v.expected.SavingShare) {
		return days, nil
	}
	percent := int32(math.Round(100 * v.expected.SavingShare))
	return days, &percent
}
