package offline

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/cmd/kubectl-gridlatch/internal/answer"
	"github.com/gridlatch/gridlatch/cmd/kubectl-gridlatch/internal/fetch"
	"github.com/gridlatch/gridlatch/exporter/provider"
	"github.com/gridlatch/gridlatch/forecast"
	"github.com/gridlatch/gridlatch/plan"
)

const (
	// learnedPast is how much of the past a model learns from.
	learnedPast = 56 * 24 * time.Hour
	// maxActualAge is the age of the newest actual intensity up to which a model corrects a fresh
	// forecast by that intensity.
	maxActualAge = 12 * time.Hour
)

// PlanZone answers when work would start by what a provider says of a zone now. As in a cluster, a
// model that knows the past eight weeks corrects the forecast. Without a forecast, the model plans by
// the past alone. tell is called as the past is fetched.
func PlanZone(ctx context.Context, zone fetch.Zone, question answer.Question, terms plan.Terms, tell func(fetch.Progress)) (answer.Plan, error) {
	published, noForecast := zone.Forecast(ctx, question.Now)
	if noForecast != nil && !isForAll(noForecast) {
		return answer.Plan{}, noForecast
	}
	hour := question.Now.Truncate(time.Hour)
	past, noPast := zone.Past(ctx, hour.Add(-learnedPast), hour, tell)
	answered := answer.Plan{Question: question}
	switch {
	case ctx.Err() != nil:
		return answer.Plan{}, ctx.Err()
	case noForecast != nil && noPast != nil:
		return answer.Plan{}, fmt.Errorf("%w; and no past: %w", noForecast, noPast)
	case noForecast != nil:
		answered.Provided = &past
		answered.Warnings = append(past.Remarks(), fmt.Sprintf("there is no forecast, and the plan is by the past alone: %v", noForecast))
	case noPast != nil:
		answered.Provided = &published
		answered.Warnings = append(published.Remarks(), fmt.Sprintf("there is no past, and the forecast is not corrected: %v", noPast))
	default:
		answered.Provided = &published
		answered.Warnings = append(published.Remarks(), past.Remarks()...)
	}
	return answered, planBy(&answered, published, past, terms)
}

// isForAll reports whether a provider has no forecast, for everybody or for this customer. Other
// errors may pass.
func isForAll(err error) bool {
	return errors.Is(err, provider.ErrUnavailable) || errors.Is(err, provider.ErrNotInPlan) || errors.Is(err, provider.ErrNoData)
}

// planBy decides by a forecast and a past, one of which may be empty.
func planBy(answered *answer.Plan, published, past fetch.Data, terms plan.Terms) error {
	maxAge, err := plan.ParseDuration(string(v1alpha1.Default().Spec.Forecast.MaxAge))
	if err != nil {
		return fmt.Errorf("default maximum age: %w", err)
	}
	expected, doubt := expect(published, past, answered.Question.Now, maxAge)
	if doubt != "" {
		answered.Warnings = append(answered.Warnings, published.Name()+": "+doubt)
	}
	answered.Source, answered.Expected = answered.Provided.Name(), expected.Series
	answered.Forecast = forecast.Forecast{Location: answered.Provided.Zone, Series: published.Series, Issued: published.Issued}
	if published.Series.IsEmpty() {
		answered.Forecast.Series = expected.Series
	}
	answered.Decision, err = decide(answered.Provided.Zone, expected, answered.Question, terms)
	return err
}

// expect returns what a model expects that has seen a past, and then a forecast. doubt says which
// values the model does not believe.
//
// Actual intensities come late, and the model looks ahead from the newest one, by a forecast that
// was known then. Therefore a forecast that is newer counts as known then, and begins with what was.
func expect(published, past fetch.Data, now time.Time, maxAge time.Duration) (expected forecast.Prediction, doubt string) {
	var model forecast.Model
	for _, slot := range past.Series.Slots() {
		model.Observe(slot)
	}
	received, slots := published.Issued, published.Series.Slots()
	newest := past.Series.End().Truncate(time.Hour).Add(-time.Hour)
	if newest.Before(received) && now.Sub(newest) <= maxActualAge {
		received = newest
		for _, slot := range past.Series.Slots() {
			if slot.Start.Before(published.Series.Start()) && slot.End.After(now.Add(-maxActualAge)) {
				slots = append(slots, slot)
			}
		}
	}
	verdict := model.Receive(forecast.NewSeries(slots), received)
	return model.Predict(now, maxAge), verdict.Doubt
}
