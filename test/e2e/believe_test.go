package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/test/env"
)

// element is one of the exporter's, of which the value is written as it is given: with its name, and a comma before.
func element(location string, start time.Time, slot time.Duration, value string) string {
	return fmt.Sprintf(`{"location":%q,"timestamp":%q,"duration":%v%s}`, location, start.UTC().Format(time.RFC3339), slot.Minutes(), value)
}

// TestWhatIsNotKnownIsNotClean has Jobs wait among dirty slots, one that is not known, and one that is clean.
func TestWhatIsNotKnownIsNotClean(t *testing.T) {
	const slot = 5 * time.Minute
	for name, tt := range map[string]struct {
		value, reason, says string
		doubted             float64
	}{
		"null":          {`,"value":null`, v1alpha1.ReasonLastGood, `element 1: value: "null": want gCO2eq/kWh`, 0},
		"misspelt":      {`,"val":418`, v1alpha1.ReasonLastGood, `element 1: value: missing, and the field "val" is unknown`, 0},
		"not a number":  {`,"value":"n/a"`, v1alpha1.ReasonLastGood, `element 1: value: "n/a"`, 0},
		"left out":      {``, v1alpha1.ReasonNotBelieved, "1 of 6 values are not believed, and count as not known: 0 from", 1},
		"zero":          {`,"value":0`, v1alpha1.ReasonNotBelieved, "1 of 6 values are not believed, and count as not known: 0 from", 1},
		"a placeholder": {`,"value":-999`, v1alpha1.ReasonNotBelieved, "1 of 6 values are not believed, and count as not known: -999 from", 1},
		"kilograms":     {`,"value":"0.418"`, v1alpha1.ReasonNotBelieved, "1 of 6 values are not believed, and count as not known: 0.418 from", 1},
	} {
		t.Run(name, func(t *testing.T) {
			grid := "NOWHERE-" + strings.ToUpper(strings.ReplaceAll(name, " ", "-"))
			carbonPolicy(t, "default", fmt.Sprintf("spec: {locations: [{name: %s}]}", grid))
			start := time.Now().Add(-time.Minute).Truncate(time.Second)
			var elements []string
			for i, value := range []string{`,"value":420`, tt.value, `,"value":300`, `,"value":180`, `,"value":240`, `,"value":400`} {
				elements = append(elements, element(grid, start.Add(time.Duration(i)*slot), slot, value))
			}
			if err := cluster.ForecastData(t.Context(), []byte("["+strings.Join(elements, ",")+"]")); err != nil {
				t.Fatal(err)
			}
			awaitPolicy(t, "default", wantCondition(v1alpha1.ConditionForecastUsable, tt.reason, tt.says))
			awaitMetric(t, "gridlatch_forecast_problem", 1, `policy="default"`)
			awaitMetric(t, "gridlatch_forecast_not_believed", tt.doubted, `policy="default"`)
			ns := namespace(t, cluster)
			create(t, cluster, job(ns, "patient", tolerant(v1alpha1.DeadlineAnnotation, "25m"), 1))
			p := awaitGated(t, cluster, ns, 1)[0]
			planned, err := time.Parse(time.RFC3339, p.Annotations[v1alpha1.PlannedStartAnnotation])
			if err != nil || planned.Before(start.Add(3*slot)) || !planned.Before(start.Add(4*slot)) {
				t.Errorf("%v: %s", err, p.Annotations[v1alpha1.ReasonAnnotation])
			}
		})
	}
}

// TestAnIssueWithoutValuesLeavesTheLastGoodInUse tries issues of which nothing can be used.
func TestAnIssueWithoutValuesLeavesTheLastGoodInUse(t *testing.T) {
	carbonPolicy(t, "default", "")
	for name, tt := range map[string]struct{ value, reason, says string }{
		"under another name": {`,"intensity":269`, v1alpha1.ReasonLastGood, `the field "intensity" is unknown: want value, in gCO2eq/kWh`},
		"left out":           {``, v1alpha1.ReasonLastGood, "forecast has no value in any of its 24 elements: want value, in gCO2eq/kWh"},
		"zeros":              {`,"value":0`, v1alpha1.ReasonNotBelieved, "24 of 24 values are not believed, and count as not known: 0 from"},
		"placeholders":       {`,"value":-1`, v1alpha1.ReasonNotBelieved, "24 of 24 values are not believed, and count as not known: -1 from"},
	} {
		t.Run(name, func(t *testing.T) {
			dirtyThenClean(t, cluster, 5*time.Minute)
			ns := namespace(t, cluster)
			create(t, cluster, job(ns, "early", tolerant(), 1))
			awaitGated(t, cluster, ns, 1)
			var elements []string
			for i := range 24 {
				elements = append(elements, element(location, time.Now().Add(time.Duration(i)*time.Hour), time.Hour, tt.value))
			}
			if err := cluster.ForecastData(t.Context(), []byte("["+strings.Join(elements, ",")+"]")); err != nil {
				t.Fatal(err)
			}
			awaitPolicy(t, "default", wantCondition(v1alpha1.ConditionForecastUsable, tt.reason, tt.says))
			create(t, cluster, job(ns, "later", tolerant(), 1))
			for _, p := range awaitGated(t, cluster, ns, 2) {
				if !strings.Contains(p.Annotations[v1alpha1.ReasonAnnotation], "120 gCO2eq/kWh") {
					t.Errorf("%s: %s", p.Name, p.Annotations[v1alpha1.ReasonAnnotation])
				}
			}
			cleanNow(t, cluster)
			awaitScheduled(t, cluster, ns, 2, patience)
		})
	}
}

// TestAnOutageThatPublishesZerosIsNotBelieved has a history of weeks.
func TestAnOutageThatPublishesZerosIsNotBelieved(t *testing.T) {
	c, g := remembering(t, 60*time.Hour)
	var zeros []string
	for i := range 48 {
		zeros = append(zeros, element(location, time.Now().Add(time.Duration(i-1)*time.Hour), time.Hour, `,"value":0`))
	}
	if err := c.ForecastData(t.Context(), []byte("["+strings.Join(zeros, ",")+"]")); err != nil {
		t.Fatal(err)
	}
	p := &v1alpha1.CarbonPolicy{}
	env.Eventually(t, patience, func(ctx context.Context) error {
		if err := c.Client.Get(ctx, client.ObjectKey{Name: "default"}, p); err != nil {
			return err
		}
		return wantCondition(v1alpha1.ConditionForecastUsable, v1alpha1.ReasonNotBelieved, "work is planned by the history of the last weeks")(p)
	})
	for _, want := range []string{"48 of 48 values are not believed", "where 2", "is usual"} {
		if err := wantCondition(v1alpha1.ConditionForecastUsable, v1alpha1.ReasonNotBelieved, want)(p); err != nil {
			t.Error(err)
		}
	}
	env.Eventually(t, patience, func(ctx context.Context) error {
		n, err := events(ctx, c, p, v1alpha1.EventNotBelieved)
		if err == nil && n != 1 {
			err = fmt.Errorf("%d Events on the policy, want 1", n)
		}
		return err
	})
	if doubted, err := g.Metric(t.Context(), "gridlatch_forecast_not_believed", `policy="default"`); err != nil || doubted != 48 {
		t.Errorf("the metric is %v (%v), want 48", doubted, err)
	}
	ns := namespace(t, c)
	create(t, c, job(ns, "by-heart", tolerant(v1alpha1.DeadlineAnnotation, "20h", v1alpha1.DurationAnnotation, "1h"), 1))
	held := awaitGated(t, c, ns, 1)[0]
	if !strings.Contains(held.Annotations[v1alpha1.ReasonAnnotation], "history") {
		t.Errorf("reason: %s", held.Annotations[v1alpha1.ReasonAnnotation])
	}
}

// keepsToWhatWasKnown is a story of TestCeilings: where the forecast says nothing, or nothing that can be true, the
// ceiling is not that of a clean grid.
func keepsToWhatWasKnown(t *testing.T, s *site) {
	o := s.follower(t, 100, 20, 200, 20, 1000, 1)
	now := time.Now()
	s.grid.write(t, s.name, append(
		env.Elements(s.name, now.Add(-time.Hour), time.Hour-time.Minute, 600),
		append(env.Elements(s.name, now.Add(-time.Minute), time.Hour, 0), env.Elements(s.name, now.Add(59*time.Minute), time.Hour, 600)...)...,
	)...)
	awaitCeiling(t, s.cluster, o, 1)
	zeros := env.Elements(s.name, now.Add(-time.Minute), time.Hour, 0, 0, 0, 0)
	s.grid.write(t, s.name, zeros...)
	stays(t, s.cluster, o, 5*time.Second, func() error {
		if got := o.GetAnnotations()[v1alpha1.CeilingAnnotation]; got != "1" {
			data, _ := json.Marshal(o.GetAnnotations()) // of strings alone
			return fmt.Errorf("the ceiling is %s: %s", got, data)
		}
		return nil
	})
}
