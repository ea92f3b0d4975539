package gating

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/forecast"
	"github.com/gridlatch/gridlatch/plan"
	"github.com/gridlatch/gridlatch/policy"
)

func TestAStatusIsWrittenWithItsZeros(t *testing.T) {
	data, err := replaceStatus(v1alpha1.CarbonPolicyStatus{Held: v1alpha1.HeldStatus{Groups: 1}}).Data(client.Object(nil))
	if err != nil {
		t.Fatal(err)
	}
	// a Job without pods yet; the schema requires both
	if want := `[{"op":"add","path":"/status","value":{"held":{"pods":0,"groups":1}}}]`; string(data) != want {
		t.Errorf("got %s, want %s", data, want)
	}
}

func TestTheConditionTellsWhetherTheForecastIsInUse(t *testing.T) {
	element := func(hour int, value string) string {
		return fmt.Sprintf(`{"location":"X","timestamp":%q,"duration":60%s}`, t0.Add(time.Duration(hour)*time.Hour).Format(time.RFC3339), value)
	}
	for name, tt := range map[string]struct {
		documents [][]string // values by the hour
		after     time.Duration
		reason    string
	}{
		"all is known":               {[][]string{{`,"value":600`, `,"value":500`}}, 30 * time.Minute, v1alpha1.ReasonCurrent},
		"null between others":        {[][]string{{`,"value":600`, `,"value":null`, `,"value":600`}}, 90 * time.Minute, v1alpha1.ReasonLastGood},
		"null at the end":            {[][]string{{`,"value":500`, `,"value":600`, `,"value":null`}}, 150 * time.Minute, v1alpha1.ReasonStale},
		"a zero between others":      {[][]string{{`,"value":600`, `,"value":0`, `,"value":500`}}, 90 * time.Minute, v1alpha1.ReasonNotBelieved},
		"left out at the end":        {[][]string{{`,"value":500`, `,"value":600`, ``, ``}}, 150 * time.Minute, v1alpha1.ReasonNotBelieved},
		"zeros behind a good one":    {[][]string{{`,"value":600`}, {`,"value":0`, `,"value":0`, ``}}, 150 * time.Minute, v1alpha1.ReasonNotBelieved},
		"nothing but zeros":          {[][]string{{`,"value":0`, ``}}, 30 * time.Minute, v1alpha1.ReasonNotBelieved},
		"the forecast is over":       {[][]string{{`,"value":600`, `,"value":500`}}, 150 * time.Minute, v1alpha1.ReasonStale},
		"there never was a forecast": {nil, 0, v1alpha1.ReasonMissing},
	} {
		t.Run(name, func(t *testing.T) {
			var store forecast.Store
			for _, values := range tt.documents {
				var elements []string
				for hour, value := range values {
					elements = append(elements, element(hour, value))
				}
				document, err := forecast.Parse([]byte("[" + strings.Join(elements, ",") + "]"))
				if err != nil {
					t.Fatal(err)
				}
				document.Issued = t0
				_ = store.Offer(forecast.Source{Name: "x"}, document, t0) // a refusal is a part of the test
			}
			p := &pass{policy: builtin(), snapshot: store.Snapshot(forecast.Source{Name: "x"}), now: t0.Add(tt.after)}
			c := p.forecastCondition()
			if c.Reason != tt.reason || (tt.reason == v1alpha1.ReasonNotBelieved) != strings.Contains(c.Message, "not believed, and count as not known") {
				t.Errorf("condition %s: %s, want %s", c.Reason, c.Message, tt.reason)
			}
		})
	}
}

func TestTheConditionIsAboutTheLocationThatWorkIsPlannedFor(t *testing.T) {
	written := func(ofX, ofY, message, note string) forecast.Document {
		one := forecast.NewSeries([]forecast.Slot{{Start: t0, End: t0.Add(time.Hour), Intensity: 400}})
		return forecast.Document{
			Series:  map[string]*forecast.Series{"X": one, "Y": one},
			Details: map[string]forecast.Details{"X": {Issued: t0, Problem: ofX}, "Y": {Issued: t0, Problem: ofY}}, Message: message, Note: note,
		}
	}
	object := v1alpha1.Default()
	object.Spec.Locations = []v1alpha1.Location{{Name: "X"}, {Name: "Y"}}
	for name, tt := range map[string]struct {
		document forecast.Document
		fails    error
		reason   string
		message  string
	}{
		"all is well":               {written("", "", "", ""), nil, v1alpha1.ReasonCurrent, "the newest forecast is in use"},
		"the writer has a note":     {written("", "", "", "slots of 1 h"), nil, v1alpha1.ReasonCurrent, "the newest forecast is in use; slots of 1 h"},
		"another one has a problem": {written("", "429", "Y: 429", ""), nil, v1alpha1.ReasonCurrent, "the newest forecast is in use; about other locations: Y: 429"},
		"it has a problem":          {written("429", "", "X: 429", ""), nil, v1alpha1.ReasonLastGood, "the last good forecast is in use: X: 429"},
		"the source is gone":        {written("", "", "", ""), errors.New("gone"), v1alpha1.ReasonLastGood, "the last good forecast is in use: gone"},
	} {
		t.Run(name, func(t *testing.T) {
			var store forecast.Store
			source := forecast.Source{Name: "x"}
			if err := store.Offer(source, tt.document, t0); err != nil {
				t.Fatal(err)
			}
			if tt.fails != nil {
				store.Fail(source, tt.fails)
			}
			p := &pass{policy: policy.New(t.Context(), object, "gridlatch-system", nil, t0), snapshot: store.Snapshot(source), now: t0}
			if c := p.forecastCondition(); c.Reason != tt.reason || c.Message != tt.message {
				t.Errorf("got %s: %s\nwant %s: %s", c.Reason, c.Message, tt.reason, tt.message)
			}
		})
	}
}

// statusLoop is a loop for one CarbonPolicy, whose forecast has these intensities by the hour.
func statusLoop(t *testing.T, object *v1alpha1.CarbonPolicy, values string, records ...*record) *Loop {
	t.Helper()
	l := strayLoop(t, prometheus.NewRegistry(), recordsOf(t, records...), object)
	var elements []string
	for hour, value := range strings.Fields(values) {
		elements = append(elements, fmt.Sprintf(`{"location":"X","timestamp":%q,"duration":60,"value":%s}`, t0.Add(time.Duration(hour)*time.Hour).Format(time.RFC3339), value))
	}
	document, err := forecast.Parse([]byte("[" + strings.Join(elements, ",") + "]"))
	if err != nil {
		t.Fatal(err)
	}
	document.Issued = t0
	_ = l.Store.Offer(builtin().Source, document, t0) // a refusal is a part of the test
	return l
}

func TestTheStatusOfAPolicySaysWhatIsHeldAndWhatRuns(t *testing.T) {
	object := v1alpha1.Default()
	object.Spec.Locations = []v1alpha1.Location{{Name: "X"}}
	object.Spec.Buckets = []v1alpha1.Bucket{{UpTo: ptr.To[int32](200), Ceiling: 5}, {Ceiling: 0}}
	notes := map[string]string{v1alpha1.DelayTolerantAnnotation: "true", v1alpha1.DeadlineAnnotation: "12h", v1alpha1.DurationAnnotation: "1h"}
	held := waitingRecord("Pod", "held", notes)
	held.CreationTimestamp = metav1.NewTime(t0)
	l := statusLoop(t, object, "400 400 100 400 400 400 400 400 400 400 400 400 400", held, released("Pod", "runs", 0, nil), released("Pod", "runs-too", 0, nil))
	writes := 0
	l.Client = interceptor.NewClient(l.Client.(client.WithWatch), interceptor.Funcs{
		Patch: func(context.Context, client.WithWatch, client.Object, client.Patch, ...client.PatchOption) error {
			return nil // the held pod is in the cache alone
		},
		SubResourcePatch: func(ctx context.Context, c client.Client, sub string, o client.Object, patch client.Patch, options ...client.SubResourcePatchOption) error {
			writes++
			return c.SubResource(sub).Patch(ctx, o, patch, options...)
		},
	})
	for range 2 {
		if _, err := l.Reconcile(t.Context(), request("default")); err != nil {
			t.Fatal(err)
		}
	}
	if writes != 1 {
		t.Errorf("the status was written %d times, want once for what has not changed", writes)
	}
	var got v1alpha1.CarbonPolicy
	if err := l.Client.Get(t.Context(), client.ObjectKey{Name: "default"}, &got); err != nil {
		t.Fatal(err)
	}
	status := got.Status
	if status.Held.Pods != 1 || status.Held.Groups != 1 || status.NextRelease == nil || !status.NextRelease.Time.Equal(t0.Add(2*time.Hour)) {
		t.Errorf("held %+v until %v", status.Held, status.NextRelease)
	}
	if len(status.Locations) != 1 || status.Locations[0].Running == nil || *status.Locations[0].Running != 2 {
		t.Errorf("locations %+v", status.Locations)
	}
	for _, kind := range []string{v1alpha1.ConditionReady, v1alpha1.ConditionForecastUsable} {
		if !apimeta.IsStatusConditionTrue(status.Conditions, kind) {
			t.Errorf("%s: %+v", kind, status.Conditions)
		}
	}
	if !apimeta.IsStatusConditionFalse(status.Conditions, v1alpha1.ConditionReleasesFailing) {
		t.Errorf("%+v", status.Conditions)
	}
}

func TestAPassThatCannotWriteTheStatusIsFollowedByAnotherSoon(t *testing.T) {
	l := statusLoop(t, v1alpha1.Default(), "400 100")
	l.Client = interceptor.NewClient(l.Client.(client.WithWatch), interceptor.Funcs{
		SubResourcePatch: func(context.Context, client.Client, string, client.Object, client.Patch, ...client.SubResourcePatchOption) error {
			return errors.New("no answer")
		},
	})
	result, err := l.Reconcile(t.Context(), request("default"))
	if err != nil || result.RequeueAfter > retryPause || result.RequeueAfter == 0 {
		t.Errorf("%v, %v", result, err)
	}
}

func TestAPassWithoutPoliciesIsAnError(t *testing.T) {
	l := statusLoop(t, v1alpha1.Default(), "400")
	unreadable := interceptor.NewClient(l.Client.(client.WithWatch), interceptor.Funcs{
		Get: func(context.Context, client.WithWatch, client.ObjectKey, client.Object, ...client.GetOption) error {
			return errors.New("no answer")
		},
	})
	l.Policies.Reader = unreadable
	if _, err := l.Reconcile(t.Context(), request("default")); err == nil {
		t.Error("a policy that cannot be read holds nothing")
	}
}

func TestAnEventTellsOnceThatAForecastIsNotBelieved(t *testing.T) {
	l := statusLoop(t, v1alpha1.Default(), "600 0 500 600")
	for range 3 {
		if _, err := l.Reconcile(t.Context(), request("default")); err != nil {
			t.Fatal(err)
		}
	}
	var got []string
	for a, found := l.Events.queue.next(); found; a, found = l.Events.queue.next() {
		got = append(got, a.reason)
	}
	if diff := cmp.Diff([]string{v1alpha1.EventNotBelieved}, got); diff != "" {
		t.Error(diff)
	}
}

func TestReadySaysWhatOfThePolicyIsNotInUse(t *testing.T) {
	for name, tt := range map[string]struct {
		problems, warnings []string
		status             metav1.ConditionStatus
		message            string
	}{
		"all":               {nil, nil, metav1.ConditionTrue, "the whole spec is in use"},
		"all, with a doubt": {nil, []string{"one"}, metav1.ConditionTrue, "the whole spec is in use; one"},
		"not all":           {[]string{"spec.a", "spec.b"}, []string{"one"}, metav1.ConditionFalse, "spec.a; spec.b"},
	} {
		rules := builtin()
		rules.Problems, rules.Warnings = tt.problems, tt.warnings
		c := (&pass{policy: rules, snapshot: &forecast.Snapshot{}, now: t0}).conditions()[0]
		if c.Status != tt.status || c.Message != tt.message {
			t.Errorf("%s: %+v", name, c)
		}
	}
}

func TestTheConditionNamesWhatIsOverdue(t *testing.T) {
	l := strayLoop(t, prometheus.NewRegistry(), recordsOf(t))
	pod := waitingRecord("Pod", "p", nil)
	pod.Namespace = "team-a"
	l.refusals.note("default", pod, "denied by the rules of the house", t0)
	g := &group{pods: []*record{pod}, task: plan.Task{LatestStart: t0.Add(-5 * time.Minute)}}
	p := &pass{policy: builtin(), now: t0, groups: []*group{g}}
	late := l.overdue(p)
	c := l.releasesFailingCondition(p, late)
	want := "work that should have started by 2026-11-21 11:55 UTC is still held, the first is Pod team-a/p: denied by the rules of the house"
	if late.pods != 1 || c.Status != metav1.ConditionTrue || c.Reason != v1alpha1.ReasonOverdue || c.Message != want {
		t.Errorf("%d pods are overdue: %+v", late.pods, c)
	}
	g.task.LatestStart = t0.Add(-30 * time.Second)
	if late := l.overdue(p); late.pods != 0 {
		t.Errorf("half a minute late, %d pods are overdue", late.pods)
	}
	g.task.LatestStart, g.waitsForUser = t0.Add(-time.Hour), true
	if late := l.overdue(p); late.pods != 0 {
		t.Errorf("%d pods are overdue that their user keeps suspended", late.pods)
	}
}

func TestTheConditionSaysThatHistoryTakesThePlaceOfForecasts(t *testing.T) {
	measured := func(days, until int) map[string]*forecast.Series {
		var slots []forecast.Slot
		for hour := range days * 24 {
			start := t0.Add(time.Duration(until-days*24+hour) * time.Hour)
			slots = append(slots, forecast.Slot{Start: start, End: start.Add(time.Hour), Intensity: 300 + float64(hour%24)})
		}
		return map[string]*forecast.Series{"X": forecast.NewSeries(slots)}
	}
	lacking := forecast.Details{LacksForecast: true, Origin: forecast.Origin{Provider: "P"}}
	with := func(change func(*forecast.Details)) forecast.Details {
		d := lacking
		change(&d)
		return d
	}
	coming := map[string]*forecast.Series{"X": forecast.NewSeries([]forecast.Slot{{Start: t0, End: t0.Add(9 * time.Hour), Intensity: 300}})}
	for name, tt := range map[string]struct {
		document forecast.Document
		details  forecast.Details
		status   metav1.ConditionStatus
		reason   string
		message  string
	}{
		"enough is known": {
			forecast.Document{Actuals: measured(10, 0)}, lacking,
			metav1.ConditionTrue, v1alpha1.ReasonByHistory, "no forecast in this plan: work is planned by history, 9 of 28 days are known",
		},
		"the newest values could not be had": {
			forecast.Document{Actuals: measured(40, 0)}, with(func(d *forecast.Details) { d.Problem = "429 Too Many Requests" }),
			metav1.ConditionTrue, v1alpha1.ReasonByHistory, `no forecast in this plan: work is planned by history, 28 of 28 days are known; about the newest intensities: location "X": 429 Too Many Requests`,
		},
		"too little is known": {
			forecast.Document{Actuals: measured(1, 0)}, lacking,
			metav1.ConditionFalse, v1alpha1.ReasonMissing, "no forecast in this plan, and too little is known of the last days: work starts at once until the intensities of 2 days are known; the newest is of 2026-11-21 12:00 UTC",
		},
		"nothing is known": {
			forecast.Document{}, lacking,
			metav1.ConditionFalse, v1alpha1.ReasonMissing, "no forecast in this plan, and too little is known of the last days: work starts at once until the intensities of 2 days are known; none is known yet",
		},
		"what is known is too old": {
			forecast.Document{Actuals: measured(30, -100)}, lacking,
			metav1.ConditionFalse, v1alpha1.ReasonMissing, "no forecast in this plan, and too little is known of the last days: work starts at once until the intensities of 2 days are known; the newest is of 2026-11-17 08:00 UTC",
		},
		"the forecast has not come yet": {
			forecast.Document{Actuals: measured(10, 0)}, with(func(d *forecast.Details) { d.LacksForecast, d.Problem = false, "503 Service Unavailable" }),
			metav1.ConditionFalse, v1alpha1.ReasonMissing, "work is planned by the history of the last weeks, because there is no forecast: 503 Service Unavailable",
		},
		"the values are made up": {
			forecast.Document{Series: coming}, forecast.Details{Issued: t0, Origin: forecast.Origin{Provider: "Mock", IsMadeUp: true}},
			metav1.ConditionTrue, v1alpha1.ReasonCurrent, "the intensities are made up, for trying; the newest forecast is in use",
		},
	} {
		t.Run(name, func(t *testing.T) {
			var store forecast.Store
			tt.document.Details = map[string]forecast.Details{"X": tt.details}
			if err := store.Offer(forecast.Source{Name: "x"}, tt.document, t0); err != nil {
				t.Fatal(err)
			}
			p := &pass{policy: builtin(), snapshot: store.Snapshot(forecast.Source{Name: "x"}), now: t0}
			got := p.forecastCondition()
			want := metav1.Condition{Type: v1alpha1.ConditionForecastUsable, Status: tt.status, Reason: tt.reason, Message: tt.message}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}
