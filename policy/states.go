package policy

import (
	"math"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/forecast"
)

// LocationState is what a policy knows of one location at a moment.
type LocationState struct {
	// Name is the name that the forecast has for the location.
	Name string
	// IsKnown says that Intensity is the intensity now.
	IsKnown bool
	// Intensity is in gCO2eq/kWh.
	Intensity float64
	// Issued is when the forecast in use was issued, and Until is when that forecast ends.
	Issued, Until time.Time
	// Details is what the newest forecast says of the location.
	Details forecast.Details
	// Problem says why the newest forecast of the location is not used, or not all of it; "" if all is
	// well.
	Problem string
	// ActualUntil is the end of the newest actual intensity; zero if there is none.
	ActualUntil time.Time
	// Prediction is what is expected of the location from now on.
	Prediction forecast.Prediction
	// Missing says why the forecast is not usable, or where the forecast ends.
	Missing string
}

// LocationStates returns the state of each location, the default location first.
func (p *Policy) LocationStates(snapshot *forecast.Snapshot, now time.Time) []LocationState {
	names := []string{""}
	if len(p.spec.Locations) > 0 {
		names = nil
		for _, l := range p.spec.Locations {
			names = append(names, l.Name)
		}
	}
	states := make([]LocationState, len(names))
	for i, name := range names {
		states[i] = p.locationState(snapshot, name, now)
	}
	return states
}

func (p *Policy) locationState(snapshot *forecast.Snapshot, name string, now time.Time) LocationState {
	v := LocationState{Name: name}
	e, f, missing := p.prediction(snapshot, name, now)
	v.Prediction, v.Missing = e, missing
	v.Issued, v.Until = f.Issued, f.Series.End()
	v.Details, v.Problem, v.ActualUntil = f.Details, f.Problem, f.ActualUntil()
	v.Intensity, v.IsKnown = f.Series.At(now)
	if !v.IsKnown {
		v.Intensity, v.IsKnown = e.Series.At(now)
	}
	if name == "" {
		v.Name = f.Location
	}
	return v
}

// MaxAge returns the age up to which a forecast counts as fresh.
func (p *Policy) MaxAge() time.Duration { return p.maxAge }

// LacksForecast reports whether history is all there is: the provider has no forecast, and no
// earlier forecast is left.
func (v *LocationState) LacksForecast() bool {
	return v.Details.LacksForecast && v.Issued.IsZero() && !v.IsUsable()
}

// IsUsable reports whether work can be held by the forecast.
func (v *LocationState) IsUsable() bool {
	return v.Prediction.Basis == forecast.BasisForecast || v.Prediction.Basis == forecast.BasisStaleForecast
}

// IsPlanned reports whether work can be held by the forecast or, if the provider has none, by the
// history.
func (v *LocationState) IsPlanned() bool {
	return v.IsUsable() || v.LacksForecast() && v.IsByHistory()
}

// IsByHistory reports whether the prediction rests on history, alone or with the weather.
func (v *LocationState) IsByHistory() bool {
	return v.Prediction.Basis == forecast.BasisHistory || v.Prediction.Basis == forecast.BasisWeather
}

// Learned returns how many days the model has learned from. After [v1alpha1.DaysToLearn] days,
// Learned also returns the share of the possible saving that the predictions would have had, in
// percent.
func (v *LocationState) Learned() (days int32, share *int32) {
	days = min(int32(v.Prediction.LearnedTime.Hours()/24), v1alpha1.DaysToLearn)
	if days < v1alpha1.DaysToLearn || math.IsNaN(v.Prediction.SavingShare) {
		return days, nil
	}
	percent := int32(math.Round(100 * v.Prediction.SavingShare))
	return days, &percent
}

// The wait and the work for which the status has the usual error.
const (
	usualWait     = 12 * time.Hour
	usualDuration = 4 * time.Hour
)

// usualError returns the usual error of a prediction, in gCO2eq/kWh, and nil if too little is known.
func (v *LocationState) usualError() *int32 {
	usual, ok := v.Prediction.Differences.Error(usualDuration, usualWait)
	if !ok {
		return nil
	}
	rounded := int32(math.Round(usual))
	return &rounded
}

// Fallback says what happens to work without a usable forecast.
func (v *LocationState) Fallback() string {
	switch v.Prediction.Basis {
	case forecast.BasisHistory:
		return "work is planned by the history of the last weeks"
	case forecast.BasisWeather:
		return "work is planned by the weather and the history of the last weeks"
	default:
		return "work starts at once"
	}
}

// LocationStatuses returns the state of each location for the status of the policy, without the
// number of running pods.
func (p *Policy) LocationStatuses(snapshot *forecast.Snapshot, now time.Time) []v1alpha1.LocationStatus {
	states := p.LocationStates(snapshot, now)
	locations := make([]v1alpha1.LocationStatus, len(states))
	for i, v := range states {
		locations[i].Name = v.Name
		locations[i].LearnedDays, locations[i].SavingSharePercent = v.Learned()
		locations[i].UsualError = v.usualError()
		locations[i].Provider, locations[i].Signal = v.Details.Origin.ProviderName(), apiSignal(v.Details.Origin.Signal)
		locations[i].Attribution, locations[i].ActualUntil = v.Details.Attribution, APITime(v.ActualUntil)
		locations[i].SecondSource = secondSource(v.Details)
		if v.IsKnown {
			rounded := int32(math.Round(v.Intensity))
			locations[i].Intensity = &rounded
		}
		if v.IsKnown && p.HasBuckets() {
			ceiling := int32(p.buckets.Ceiling(v.Intensity))
			locations[i].Bucket, locations[i].Ceiling = p.buckets.Name(v.Intensity), &ceiling
		}
		if !v.Issued.IsZero() {
			locations[i].ForecastIssued, locations[i].ForecastUntil = APITime(v.Issued), APITime(v.Until)
		}
	}
	return locations
}

// secondSource says who else tells how the intensity was; "" if nobody is asked.
func secondSource(d forecast.Details) string {
	switch {
	case d.Second == nil:
		return ""
	case d.Origin.Past != "":
		return d.Second.String() + ", as it is: the provider knows nothing of the past"
	default:
		return d.Second.String()
	}
}

// apiSignal returns a signal for the status; nil if nobody states the signal.
func apiSignal(s forecast.Signal) *v1alpha1.Signal {
	if s == (forecast.Signal{}) {
		return nil
	}
	return &v1alpha1.Signal{Kind: string(s.Kind), EmissionFactors: string(s.EmissionFactors)}
}

// ChangeTimes returns the next moments at which the policy's knowledge of the grid changes by
// itself: an hour or a slot ends, or a forecast becomes too old.
func (p *Policy) ChangeTimes(snapshot *forecast.Snapshot, now time.Time) []time.Time {
	turns := []time.Time{now.Truncate(time.Hour).Add(time.Hour)}
	for _, v := range p.LocationStates(snapshot, now) {
		f, ok := snapshot.Forecast(v.Name)
		if !ok {
			continue
		}
		turns = append(turns, f.Issued.Add(p.maxAge).Add(time.Millisecond))
		if boundary, ok := f.Series.NextBoundary(now); ok {
			turns = append(turns, boundary)
		}
	}
	return turns
}

// APITime cuts a time to whole seconds, as the API stores times, and returns nil for the zero time.
// The result compares equal to what is read back.
func APITime(t time.Time) *metav1.Time {
	if t.IsZero() {
		return nil
	}
	cut := metav1.NewTime(t.UTC().Truncate(time.Second)).Rfc3339Copy()
	return &cut
}
