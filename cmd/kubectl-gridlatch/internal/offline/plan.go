// Package offline plans without a cluster, as the policy that ships with Gridlatch does: by a
// forecast in a file, as it was published, or by what a provider says of a zone now.
package offline

import (
	"fmt"
	"strings"
	"time"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/cmd/kubectl-gridlatch/internal/answer"
	"github.com/gridlatch/gridlatch/forecast"
	"github.com/gridlatch/gridlatch/plan"
)

const (
	// maxNames bounds how many locations an error names.
	maxNames = 20
	// maxStartAhead is how far from now a forecast may begin, as in a cluster. Many begin with the next
	// slot.
	maxStartAhead = time.Hour
)

// LocationError says that the forecast has no location of the name that was asked for, or that a
// name is needed.
type LocationError struct {
	Asked string
	Known []string
}

func (e LocationError) Error() string {
	names := strings.Join(e.Known[:min(len(e.Known), maxNames)], ", ")
	if more := len(e.Known) - maxNames; more > 0 {
		names += fmt.Sprintf(" and %d more", more)
	}
	if e.Asked == "" {
		return "the forecast has several locations, want one of: " + names
	}
	return "the forecast has no such location, want one of: " + names
}

// PeriodError says that the forecast does not cover the moment to plan for.
type PeriodError struct {
	File             string
	Now, From, Until time.Time
}

func (e PeriodError) Error() string {
	if e.Now.Before(e.From) {
		return fmt.Sprintf("%s: the forecast begins at %s, and now is %s", e.File, plan.FormatTime(e.From), plan.FormatTime(e.Now))
	}
	return fmt.Sprintf("%s: the forecast ended at %s, and now is %s", e.File, plan.FormatTime(e.Until), plan.FormatTime(e.Now))
}

// Plan answers when work would start by the forecast in a file. An error is a [LocationError] or a
// [PeriodError] if the forecast in the file cannot answer the question.
func Plan(file File, question answer.Question, terms plan.Terms) (answer.Plan, error) {
	document, err := file.read()
	if err != nil {
		return answer.Plan{}, err
	}
	snapshot, err := believe(document, question.Now)
	if err != nil {
		return answer.Plan{}, fmt.Errorf("%s: %w", file.Name, err)
	}
	answered := answer.Plan{Question: question, Source: file.Name}
	if problem := snapshot.Problem(); problem != "" {
		answered.Warnings = append(answered.Warnings, file.Name+": "+problem)
	}
	published, ok := snapshot.Forecast(question.Location)
	if !ok {
		return answer.Plan{}, LocationError{Asked: question.Location, Known: snapshot.Locations()}
	}
	series := published.Series
	if question.Now.Add(maxStartAhead).Before(series.Start()) || !question.Now.Before(series.End()) {
		return answer.Plan{}, PeriodError{File: file.Name, Now: question.Now, From: series.Start(), Until: series.End()}
	}
	answered.Forecast, answered.Expected = published, series
	expected := forecast.Prediction{Series: series, Basis: forecast.BasisForecast}
	answered.Decision, err = decide(published, expected, question, terms)
	return answered, err
}

// believe returns a document without the values that cannot be true. The error says why no value is
// left.
func believe(document forecast.Document, now time.Time) (*forecast.Snapshot, error) {
	var store forecast.Store
	var source forecast.Source
	err := store.Offer(source, document, now)
	if snapshot := store.Snapshot(source); len(snapshot.Locations()) > 0 {
		return snapshot, nil
	}
	return nil, err
}

// decide plans by what is expected of a location, with the durations of the policy that ships with
// Gridlatch where the question gives none.
func decide(published forecast.Forecast, expected forecast.Prediction, question answer.Question, terms plan.Terms) (plan.Decision, error) {
	spec := v1alpha1.Default().Spec
	task := plan.Task{Duration: question.Duration, Threshold: question.Threshold}
	var err error
	if task.Duration == 0 {
		if task.Duration, err = plan.ParseDuration(string(spec.DefaultDuration)); err != nil {
			return plan.Decision{}, fmt.Errorf("default duration: %w", err)
		}
	}
	if task.LatestStart = plan.LatestStart(question.Deadline, task.Duration); question.Deadline.IsZero() {
		maxDelay, err := plan.ParseDuration(string(spec.MaxDelay))
		if err != nil {
			return plan.Decision{}, fmt.Errorf("default maximum delay: %w", err)
		}
		task.LatestStart = question.Now.Add(maxDelay)
	}
	missing := "the forecast does not cover the time from " + plan.FormatTime(question.Now) + " on"
	planner := plan.NewPlanner(published.Location, expected.Series, missing, terms, question.Now, task.LatestStart)
	return planner.WithBasis(expected.Basis).WithOrigin(published.Details.Origin).Decide(task), nil
}
