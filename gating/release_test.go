package gating

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/gating/hold"
	"github.com/gridlatch/gridlatch/plan"
)

// TestPodsGoThoughTheRecordOfTheirJobIsRefused has a Job that cannot be changed.
func TestPodsGoThoughTheRecordOfTheirJobIsRefused(t *testing.T) {
	whole := map[string]string{v1alpha1.HeldByAnnotation: v1alpha1.HoldBySuspend}
	for name, tt := range map[string]struct {
		notes     map[string]string
		suspended bool
		cause     plan.Cause
		latest    time.Duration
		recorded  bool
		want      int
	}{
		"not before the latest start":                    {cause: plan.CauseWithdrawn, latest: time.Second},
		"at the latest start":                            {cause: plan.CauseLatestStart, want: 1},
		"at the latest start, whatever else it goes for": {cause: plan.CauseWithdrawn, want: 1},
		"when it is recorded":                            {cause: plan.CauseWithdrawn, latest: time.Hour, recorded: true, want: 1},
		"when the Job is let go already":                 {notes: whole, latest: time.Hour, want: 1},
		"not while the Job is suspended":                 {notes: whole, suspended: true, latest: time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			job := &record{facts: facts{isSuspended: tt.suspended}}
			job.Kind, job.Annotations = hold.JobKind().Kind, tt.notes
			g := &group{
				owner: job, pods: []*record{{}}, isRecorded: tt.recorded,
				decision: plan.Decision{Cause: tt.cause}, task: plan.Task{LatestStart: t0.Add(tt.latest)},
			}
			got := 0
			for range (&pass{now: t0}).releasablePods([]*group{g}) {
				got++
			}
			if got != tt.want {
				t.Errorf("%d pods go, want %d", got, tt.want)
			}
		})
	}
}

func TestWhatIsNotToGoTakesNoRoom(t *testing.T) {
	wish := map[string]string{v1alpha1.DelayTolerantAnnotation: "true"}
	for name, tt := range map[string]struct {
		job  facts
		note string // how it is held
		want bool
	}{
		"a Job that waits":                  {facts{podsToRun: 5}, "", true},
		"one that its user holds suspended": {facts{podsToRun: 5, isSuspended: true, isSuspendedOrJustResumed: true}, "", false},
		"one that we suspend":               {facts{podsToRun: 5, isSuspended: true, isSuspendedOrJustResumed: true}, v1alpha1.HoldBySuspend, true},
		"one of these that is let go":       {facts{podsToRun: 5}, v1alpha1.HoldBySuspend, false},
	} {
		t.Run(name, func(t *testing.T) {
			job := &record{facts: tt.job}
			job.Kind, job.Annotations = hold.JobKind().Kind, map[string]string{v1alpha1.DelayTolerantAnnotation: wish[v1alpha1.DelayTolerantAnnotation]}
			if tt.note != "" {
				job.Annotations[v1alpha1.HeldByAnnotation] = tt.note
			}
			if got := (&group{owner: job}).needsRoom(); got != tt.want {
				t.Errorf("it takes room: %t, want %t", got, tt.want)
			}
		})
	}
}

func TestOneNamespaceDoesNotTakeAllAttempts(t *testing.T) {
	var s refusals
	refused := func(namespace string, i int) *record {
		o := &record{}
		o.ObjectMeta = metav1.ObjectMeta{Namespace: namespace, Name: "pod", UID: types.UID(namespace + string(rune('a'+i)))}
		s.note("p", o, "no", t0)
		return o
	}
	var hanging []*record
	for i := range maxAttemptsPerNamespace + 3 {
		hanging = append(hanging, refused("hangs", i))
	}
	other, later := refused("other", 0), t0.Add(time.Hour)
	for i, o := range hanging {
		if !s.isDue(o, later) != (i >= maxAttemptsPerNamespace) || s.begin(o, later) != (i < maxAttemptsPerNamespace) {
			t.Errorf("attempt %d of one namespace: want at most %d", i, maxAttemptsPerNamespace)
		}
	}
	if !s.begin(other, later) {
		t.Error("another namespace has to wait for it")
	}
	s.endAttempt(hanging[0])
	s.forget(hanging[1], later)
	for _, o := range hanging[maxAttemptsPerNamespace : maxAttemptsPerNamespace+2] {
		if !s.begin(o, later.Add(time.Hour)) {
			t.Error("places are not given back")
		}
	}
}

func TestWhatWasLetGoIsRecordedAsItWas(t *testing.T) {
	var s refusals
	o := &record{}
	o.UID, o.Namespace = "job", "ns"
	first := hold.ReleaseNote{Reason: "started: clean", At: t0, Outcome: v1alpha1.OutcomeNotHeld}
	s.noteReleased("p", o, first)
	s.noteReleased("p", o, hold.ReleaseNote{Reason: "started: another plan", At: t0.Add(time.Hour)})
	if got, isUnrecorded := s.unrecordedRelease(o); !isUnrecorded || got != first {
		t.Errorf("%+v, %t", got, isUnrecorded)
	}
}

func TestWhatIsDueGoesInOrderWithThoseLastOfNamespacesThatRefuse(t *testing.T) {
	p, l := &pass{}, &Loop{}
	for i := range 7 {
		pod := recordOf(hold.PodKind())
		pod.Namespace, pod.UID = []string{"a", "b"}[i%2], types.UID(rune('a'+i))
		g := &group{wasReleased: i != 3, pods: []*record{pod}}
		g.decision = plan.Decision{Decided: t0, Start: t0.Add(time.Hour)}
		p.groups = append(p.groups, g)
	}
	l.refusals.note("", p.groups[2].pods[0], "no", t0)
	got := ""
	for _, g := range l.dueGroups(p) {
		got += string(g.pods[0].UID)
	}
	if want := "bfaceg"; got != want {
		t.Errorf("got %v, want %v", got, want)
	}
}
