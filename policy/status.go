package policy

import (
	"math"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/forecast"
)

// Locations says what is known of each location at a moment, as the policy's
// status does, but for what runs there.
func (p *Policy) Locations(book *forecast.Snapshot, now time.Time) []v1alpha1.LocationStatus {
	views := p.LocationStates(book, now)
	locations := make([]v1alpha1.LocationStatus, len(views))
	for i, v := range views {
		locations[i].Name = v.Name
		locations[i].LearnedDays, locations[i].SavingSharePercent = v.Learned()
		if v.IsKnown {
			rounded := int32(math.Round(v.Intensity))
			locations[i].Intensity = &rounded
		}
		if v.IsKnown && p.Limited() {
			ceiling := int32(p.buckets.Ceiling(v.Intensity))
			locations[i].Bucket, locations[i].Ceiling = p.buckets.Name(v.Intensity), &ceiling
		}
		if !v.Issued.IsZero() {
			locations[i].ForecastIssued, locations[i].ForecastUntil = APITime(v.Issued), APITime(v.Until)
		}
	}
	return locations
}

// instead says what happens without a usable forecast.
func (v *LocationState) Fallback() string {
	if v.Prediction.Basis == forecast.BasisHistory {
		return "work is planned by what the last weeks were like"
	}
	return "work starts at once"
}

// turns are the moments at which what a policy says of the grid changes by
// itself: a slot or an hour ends, or a forecast becomes too old.
func (p *Policy) Changes(book *forecast.Snapshot, now time.Time) []time.Time {
	turns := []time.Time{now.Truncate(time.Hour).Add(time.Hour)}
	for _, v := range p.LocationStates(book, now) {
		f, ok := book.Forecast(v.Name)
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

// second cuts an instant to what the API stores, so that it compares equal to
// what is read back. The zero time is none.
func APITime(t time.Time) *metav1.Time {
	if t.IsZero() {
		return nil
	}
	cut := metav1.NewTime(t.UTC().Truncate(time.Second)).Rfc3339Copy()
	return &cut
}
