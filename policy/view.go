package policy

import (
	"math"
	"time"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/forecast"
)

// view is what a policy knows of one of its locations at a moment.
type LocationState struct {
	Name          string
	IsKnown       bool    // there is an intensity for now
	Intensity     float64 // it
	Issued, Until time.Time
	Prediction    forecast.Prediction
	Missing       string // why the forecast is not usable
}

// views returns one view for each location of the policy, the default first.
func (p *Policy) LocationStates(book *forecast.Snapshot, now time.Time) []LocationState {
	names := []string{""}
	if len(p.spec.Locations) > 0 {
		names = nil
		for _, l := range p.spec.Locations {
			names = append(names, l.Name)
		}
	}
	views := make([]LocationState, len(names))
	for i, name := range names {
		views[i] = p.locationState(book, name, now)
	}
	return views
}

func (p *Policy) locationState(book *forecast.Snapshot, name string, now time.Time) LocationState {
	v := LocationState{Name: name}
	e, f, missing := p.prediction(book, name, now)
	v.Prediction, v.Missing = e, missing
	v.Issued, v.Until = f.Issued, f.Series.End()
	v.Intensity, v.IsKnown = f.Series.At(now)
	if !v.IsKnown {
		v.Intensity, v.IsKnown = e.Series.At(now)
	}
	if name == "" {
		v.Name = f.Location
	}
	return v
}

// usable reports whether work can be held by the forecast.
func (v *LocationState) IsUsable() bool {
	return v.Prediction.Basis == forecast.BasisForecast || v.Prediction.Basis == forecast.BasisStaleForecast
}

// learned says how far the model has come: of how many days it has learned, and, when
// these are enough, what share of the possible saving its predictions would have had,
// in percent.
func (v *LocationState) Learned() (days int32, share *int32) {
	days = min(int32(v.Prediction.LearnedTime.Hours()/24), v1alpha1.DaysToLearn)
	if days < v1alpha1.DaysToLearn || math.IsNaN(v.Prediction.SavingShare) {
		return days, nil
	}
	percent := int32(math.Round(100 * v.Prediction.SavingShare))
	return days, &percent
}
