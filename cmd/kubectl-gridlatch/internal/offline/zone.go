package offline

import (
	"cmp"
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

// learnedPast is how much of the past a model learns from.
const learnedPast = 56 * 24 * time.Hour

// PlanZone answers when work would start by what a provider says of a zone now. As in a cluster, a
// model that knows the past eight weeks corrects the forecast. Without a forecast, the model plans by
// the past alone. tell is called as the past is fetched.
func PlanZone(ctx context.Context, zone fetch.Zone, question answer.Question, terms plan.Terms, tell func(fetch.Progress)) (answer.Plan, error) {
	published, noForecast := zone.Forecast(ctx, question.Now)
	if noForecast != nil && !isForAll(noForecast) {
		return answer.Plan{}, noForecast
	}
	past, noPast := zone.Past(ctx, question.Now.Add(time.Hour-learnedPast).Truncate(time.Hour), question.Now, tell)
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
		answered.Warnings = append(answered.Warnings, answered.Provided.Name()+": "+doubt)
	}
	answered.Source, answered.Expected = answered.Provided.Name(), expected.Series
	answered.Forecast = forecast.Forecast{Location: answered.Provided.Zone, Series: published.Series, Issued: published.Issued}
	answered.Forecast.Details = forecast.Details{Origin: answered.Provided.Origin(), Attribution: answered.Provided.Description.Attribution}
	if published.Series.IsEmpty() {
		answered.Forecast.Series = expected.Series
	}
	answered.Decision, err = decide(answered.Forecast, expected, answered.Question, terms)
	return err
}

// expect returns what a model expects that knows a past and a forecast. doubt says which values the
// model does not believe.
func expect(published, past fetch.Data, now time.Time, maxAge time.Duration) (expected forecast.Prediction, doubt string) {
	var model forecast.Model
	observed := model.ObserveAll(past.Series, now)
	received := model.Receive(published.Series, published.Issued)
	return model.Predict(now, maxAge), cmp.Or(received.Doubt, observed.Doubt)
}
