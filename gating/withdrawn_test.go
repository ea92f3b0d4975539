package gating

import (
	"testing"
	"time"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/gating/hold"
	"github.com/gridlatch/gridlatch/plan"
	"github.com/gridlatch/gridlatch/policy"
)

// waitingRecord is one of a held object.
func waitingRecord(kind, name string, annotations map[string]string) *record {
	o := released(kind, name, 0, annotations)
	o.Labels[v1alpha1.StateLabel], o.isGated, o.hasNode = v1alpha1.StateHeld, kind == "Pod", false
	return o
}

func TestWithdraws(t *testing.T) {
	promised := policy.FormatTime(t0)
	for name, tt := range map[string]struct {
		kind                string
		labels, annotations map[string]string
		want                bool
	}{
		"not what asks":                               {"Pod", nil, map[string]string{v1alpha1.DelayTolerantAnnotation: "true"}, false},
		"not what asks by a label":                    {"Job", map[string]string{v1alpha1.DelayTolerantAnnotation: "true"}, nil, false},
		"a Job that declines":                         {"Job", nil, map[string]string{v1alpha1.DelayTolerantAnnotation: "false"}, true},
		"a Job that says nothing any more":            {"Job", nil, nil, true},
		"a pod that says nothing any more":            {"Pod", nil, map[string]string{v1alpha1.LatestStartAnnotation: promised}, true},
		"a pod with a label that is declined":         {"Pod", map[string]string{v1alpha1.DelayTolerantAnnotation: "true"}, map[string]string{v1alpha1.DelayTolerantAnnotation: "false"}, true},
		"what cannot be understood any more":          {"Pod", nil, map[string]string{v1alpha1.DelayTolerantAnnotation: "no", v1alpha1.LatestStartAnnotation: promised}, true},
		"not a pod that got our gate by hand":         {"Pod", nil, nil, false},
		"unless that declines":                        {"Pod", map[string]string{v1alpha1.DelayTolerantAnnotation: "false"}, nil, true},
		"not what asks by an annotation, by no label": {"Pod", map[string]string{v1alpha1.DelayTolerantAnnotation: "false"}, map[string]string{v1alpha1.DelayTolerantAnnotation: "true"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			o := recordOf(hold.PodKind())
			if tt.kind == "Job" {
				o = recordOf(hold.JobKind())
			}
			o.Labels, o.Annotations = tt.labels, tt.annotations
			if got := isWithdrawn(o); got != tt.want {
				t.Errorf("withdraws: %v, want %v", got, tt.want)
			}
		})
	}
}

func TestWhatDoesNotAskAnyMoreIsDueAndNothingElse(t *testing.T) {
	wish := func(kind, name, value string) *record {
		return waitingRecord(kind, name, map[string]string{v1alpha1.DelayTolerantAnnotation: value, v1alpha1.LatestStartAnnotation: policy.FormatTime(t0.Add(time.Hour))})
	}
	later := plan.Decision{Decided: t0, Start: t0.Add(time.Hour), Cause: plan.CauseCleanerLater, Expected: 100, ExpectedAtOnce: 400, LocationAtOnce: "here", Location: "there"}
	ofJob := &group{owner: wish("Job", "j", "true"), pods: []*record{wish("Pod", "p", "false")}, decision: later}
	declined := &group{owner: wish("Job", "k", "false"), pods: []*record{wish("Pod", "q", "true")}, decision: later, location: "there"}
	mixed := &group{pods: []*record{wish("Pod", "a", "false"), wish("Pod", "b", "true"), wish("Pod", "c", "false")}, decision: later}
	all := &group{pods: []*record{wish("Pod", "d", "false"), wish("Pod", "e", "false")}, decision: later}
	p := &pass{now: t0, groups: []*group{ofJob, declined, mixed, all}}
	p.makeWithdrawnDue()
	due := map[string]bool{}
	for _, g := range p.groups {
		for _, pod := range g.pods {
			due[pod.Name] = g.isDue()
		}
	}
	for name, want := range map[string]bool{"p": false, "q": true, "a": true, "b": false, "c": true, "d": true, "e": true} {
		if got, seen := due[name]; !seen || got != want {
			t.Errorf("pod %s is due: %v, want %v", name, got, want)
		}
	}
	if declined.location != "here" || declined.decision.Emitted() != 400 || declined.decision.Cause != plan.CauseWithdrawn {
		t.Errorf("it goes to %s for %+v", declined.location, declined.decision)
	}
	if want := "started Nov 21 12:00 UTC: it does not ask to wait any more, at 400 gCO2eq/kWh in here"; declined.releaseReason("") != want {
		t.Errorf("reason %q, want %q", declined.releaseReason(""), want)
	}
}

func TestARecordKnowsAWishThatIsALabel(t *testing.T) {
	pod := heldPodOf(1, 1)
	delete(pod.Annotations, v1alpha1.DelayTolerantAnnotation)
	pod.Labels[v1alpha1.DelayTolerantAnnotation] = "true"
	if wish, _ := policy.Wish(stripped(t, newRecordMaker(), pod)); wish != "true" {
		t.Errorf("wish %q", wish)
	}
}
