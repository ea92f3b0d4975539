package gating

import (
	"errors"
	"fmt"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/gridlatch/gridlatch/gating/hold"
)

// refusers are pods of a namespace that were refused at t0.
func refusers(s *refusals, namespace string, n int) []*record {
	pods := make([]*record, n)
	for i := range pods {
		pods[i] = recordOf(hold.PodKind())
		pods[i].Namespace, pods[i].UID, pods[i].ResourceVersion = namespace, types.UID(fmt.Sprint(namespace, i)), "1"
		s.note("p", pods[i], "no", t0)
	}
	return pods
}

// attempt tries each pod again each second in which its time has come, and returns how
// often that was in each minute, and how long the first of them that is tried last has
// waited.
func attempt(s *refusals, pods []*record, minutes int) (perMinute []int, longest time.Duration) {
	last := map[types.UID]time.Time{}
	perMinute = make([]int, minutes)
	for second := range 60 * minutes {
		now := t0.Add(time.Duration(second) * time.Second)
		for _, pod := range pods {
			if !s.begin(pod, now) {
				continue
			}
			s.note("p", pod, "no", now)
			perMinute[second/60]++
			before, tried := last[pod.UID]
			if !tried {
				before = t0
			}
			longest = max(longest, now.Sub(before))
			last[pod.UID] = now
		}
	}
	return perMinute, longest
}

func TestAThousandThatAreRefusedCostLittleAndEverLess(t *testing.T) {
	var s refusals
	perMinute, longest := attempt(&s, refusers(&s, "a", 1000), 60)
	t.Logf("attempts in each minute: %v; the longest rest is %s", perMinute, longest)
	for minute, n := range perMinute {
		if n > 200 {
			t.Errorf("%d attempts in minute %d, want at most 200", n, minute)
		}
	}
	if first, final := perMinute[0], perMinute[59]; first < 100 || final > first*2/3 || final == 0 {
		t.Errorf("%d attempts in the first minute, %d in the last: want fewer and fewer", first, final)
	}
	if longest > 15*time.Minute {
		t.Errorf("one was not tried for %s", longest)
	}
}

func TestAFewThatAreRefusedAreTriedEverLessBesideAThousand(t *testing.T) {
	var s refusals
	crowd, few := refusers(&s, "a", 1000), refusers(&s, "b", 2)
	all, longest := attempt(&s, append(crowd, few...), 30)
	for minute, n := range all {
		if n > 200 {
			t.Errorf("%d attempts in minute %d", n, minute)
		}
	}
	var alone refusals
	lonely, _ := attempt(&alone, refusers(&alone, "b", 2), 30)
	if lonely[0] < 8 || lonely[29] > 2 {
		t.Errorf("attempts of two that are alone: %v", lonely)
	}
	if s.byNamespace["b"].byUID["b0"].tries < 8 {
		t.Errorf("two others have to wait for the crowd: %d attempts, the longest rest is %s", s.byNamespace["b"].byUID["b0"].tries, longest)
	}
}

func TestWhatHasChangedIsTriedAgainSoon(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(s *refusals, pods []*record, now time.Time)
		want   bool // that all others are, too
	}{
		"nothing": {func(*refusals, []*record, time.Time) {}, false},
		"one of them, which is let go": {func(s *refusals, pods []*record, now time.Time) {
			pods[0].ResourceVersion = "2"
			s.forget(pods[0], now)
		}, false},
		"something else, so that one may": {func(s *refusals, pods []*record, now time.Time) { s.forget(pods[0], now) }, true},
	} {
		t.Run(name, func(t *testing.T) {
			var s refusals
			pods := refusers(&s, "a", 100)
			attempt(&s, pods, 30)
			now := t0.Add(31 * time.Minute)
			for _, n := range s.byNamespace["a"].byUID { // however that was
				n.nextTry, n.triedAt, n.triedVersion = now.Add(5*time.Minute), now, "1"
			}
			tt.change(&s, pods, now)
			if again := s.begin(pods[1], now); again != tt.want {
				t.Errorf("the others are tried at once: %t", again)
			}
			pods[2].ResourceVersion = "2"
			if !s.begin(pods[2], now.Add(changedPause)) {
				t.Error("what has changed itself is not tried again")
			}
		})
	}
}

func TestNothingIsRememberedOfWhatIsGone(t *testing.T) {
	var s refusals
	pods := refusers(&s, "a", 3)
	s.retain("p", []*group{{pods: pods[:1]}}, []unseenRelease{{pods[1], ""}})
	if s.has(pods[2]) || !s.has(pods[0]) || !s.has(pods[1]) {
		t.Error("want two of three")
	}
	s.retain("other", nil, nil)
	s.handOver("p")
	s.retain("p", nil, nil)
	if !s.has(pods[0]) {
		t.Error("it is a stray now")
	}
	s.forget(pods[0], t0)
	s.forget(pods[1], t0)
	if s.retain(strayWork, nil, nil); len(s.byNamespace) != 0 || s.refusesIn("a") {
		t.Errorf("%v is remembered", s.byNamespace)
	}
}

func TestOnlyNewWordsAreTold(t *testing.T) {
	var s refusals
	pod := refusers(&s, "a", 1)[0]
	if s.note("p", pod, "no", t0) || !s.note("p", pod, "not like this", t0) {
		t.Error("want the new words told, and those before not again")
	}
	if words := s.message("a"); words != "no" {
		t.Errorf("the first words are %q", words)
	}
}

func TestRefusalsAreOfTheObject(t *testing.T) {
	webhook := apierrors.NewInternalError(errors.New("failed calling webhook \"x\": connection refused"))
	for name, tt := range map[string]struct {
		err  error
		want bool
	}{
		"nothing":                  {nil, false},
		"a policy":                 {apierrors.NewForbidden(corev1.Resource("pods"), "p", errors.New("denied")), true},
		"a validation":             {fmt.Errorf("patch: %w", apierrors.NewInvalid(schema.GroupKind{Kind: "Pod"}, "p", nil)), true},
		"a webhook":                {apierrors.NewBadRequest("admission webhook denied the request"), true},
		"a webhook that is away":   {webhook, true},
		"an object that is gone":   {apierrors.NewNotFound(corev1.Resource("pods"), "p"), false},
		"another of its name":      {apierrors.NewConflict(corev1.Resource("pods"), "p", nil), false},
		"an API server that waits": {apierrors.NewTooManyRequests("later", 1), false},
		"one that is broken":       {apierrors.NewInternalError(errors.New("etcdserver: leader changed")), false},
		"none at all":              {errors.New("connection refused"), false},
	} {
		t.Run(name, func(t *testing.T) {
			if got := hold.IsRefusal(tt.err); got != tt.want {
				t.Errorf("got %t", got)
			}
		})
	}
}
