package gating

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-logr/logr/funcr"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	authorizationv1 "k8s.io/api/authorization/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"
	"k8s.io/utils/clock"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/log"
)

// switchboard is a leader's pulse, and the switches of two replicas. The API
// server allows what it is told to, and counts the versions of the Lease.
type switchboard struct {
	clientset *fake.Clientset
	clock     *clocktesting.FakeClock
	pulse     *Pulse
	switches  []*Switch
	mu        sync.Mutex
	allowed   bool
	err       error
}

func (b *switchboard) setAllowed(allowed bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.allowed = allowed
}

func newSwitchboard(elected bool) *switchboard {
	b := &switchboard{clientset: fake.NewClientset(), clock: clocktesting.NewFakeClock(t0), allowed: true}
	b.clientset.PrependReactor("create", "selfsubjectaccessreviews", func(clienttesting.Action) (bool, runtime.Object, error) {
		b.mu.Lock()
		defer b.mu.Unlock()
		return true, &authorizationv1.SelfSubjectAccessReview{Status: authorizationv1.SubjectAccessReviewStatus{Allowed: b.allowed}}, b.err
	})
	versions := 0
	b.clientset.PrependReactor("update", "leases", func(action clienttesting.Action) (bool, runtime.Object, error) {
		versions++
		lease, _ := action.(clienttesting.UpdateAction).GetObject().(metav1.Object)
		lease.SetResourceVersion(strconv.Itoa(versions))
		return false, nil, nil // and it is stored
	})
	var leases kubernetes.Interface
	if elected {
		leases = b.clientset
	}
	for range 2 {
		b.switches = append(b.switches, NewSwitch(leases, "n", b.clock, prometheus.NewRegistry()))
	}
	b.pulse = &Pulse{Clientset: b.clientset, Namespace: "n", Identity: "me", Clock: b.clock, Health: &ReleaseHealth{}, Switch: b.switches[0]}
	return b
}

// run lets time go by, with a leader or without.
func (b *switchboard) run(t *testing.T, leads bool, d time.Duration) {
	t.Helper()
	for range d / leaseInterval {
		b.clock.Step(leaseInterval)
		if leads {
			_ = b.pulse.renewIfAble(t.Context()) // what becomes of it is what is looked at
		}
		for _, s := range b.switches {
			s.read(t.Context())
		}
	}
}

func TestWorkIsHeldOnlyWhileSomebodyIsAbleToLetGo(t *testing.T) {
	const since = "held work could not be released "
	for name, tt := range map[string]struct {
		happens func(*switchboard)
		leads   bool
		elected bool
		why     string
	}{
		"a leader at work":         {func(*switchboard) {}, true, true, ""},
		"no leader":                {func(*switchboard) {}, false, true, since + "since 2026-11-21 12:05 UTC"},
		"no rights":                {func(b *switchboard) { b.allowed = false }, true, true, since + "since 2026-11-21 12:05 UTC"},
		"no answer":                {func(b *switchboard) { b.err = errors.New("down") }, true, true, since + "since 2026-11-21 12:05 UTC"},
		"none to elect":            {func(*switchboard) {}, true, false, ""},
		"none to elect, no rights": {func(b *switchboard) { b.allowed = false }, true, false, since + "since 2026-11-21 12:05 UTC"},
		"a clock that is set back": {func(b *switchboard) { b.pulse.Clock = clocktesting.NewFakeClock(t0.Add(-time.Hour)) }, true, true, ""},
		"a namespace whose releases fail": {func(b *switchboard) {
			b.pulse.Health.failing = map[string]failure{"a": {since: t0, last: t0.Add(time.Hour)}}
		}, true, true, since + "in namespace a since 2026-11-21 12:00 UTC"},
		"another whose releases fail": {func(b *switchboard) {
			b.pulse.Health.failing = map[string]failure{"b": {since: t0, last: t0.Add(time.Hour)}}
		}, true, true, ""},
		"all whose releases fail": {func(b *switchboard) {
			b.pulse.Health.failing = map[string]failure{"b": {t0, t0.Add(time.Hour), true}, "c": {t0, t0.Add(time.Hour), true}}
		}, true, true, since + "since 2026-11-21 12:00 UTC"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newSwitchboard(tt.elected)
			replicas := b.switches
			if !tt.elected {
				replicas = replicas[:1] // there is no other
			}
			check := func(want string) {
				t.Helper()
				for i, s := range replicas {
					if got := s.WhyNotHeld("a"); got != want {
						t.Errorf("replica %d: %q, want %q", i, got, want)
					}
				}
			}
			b.run(t, true, 5*time.Minute)
			check("")
			tt.happens(b)
			b.run(t, tt.leads, 2*time.Minute)
			check(tt.why)
			b.allowed, b.err, b.pulse.Clock = true, nil, b.clock
			b.pulse.Health.failing = nil
			b.run(t, true, 20*time.Second)
			check("")
		})
	}
}

func TestANewInstallationHoldsAtOnce(t *testing.T) {
	b := newSwitchboard(true)
	if why := b.switches[0].WhyNotHeld("a"); why != "" {
		t.Error(why)
	}
	b.run(t, false, time.Minute)
	if why := b.switches[0].WhyNotHeld("a"); why != "" {
		t.Errorf("after a minute: %s", why)
	}
	b.run(t, false, 10*time.Second)
	if why := b.switches[0].WhyNotHeld("a"); why == "" {
		t.Error("nobody has ever led, and work is held")
	}
}

func TestTheMetricsOfTheSwitchTellWhereNothingIsHeld(t *testing.T) {
	registry := prometheus.NewRegistry()
	clock := clocktesting.NewFakeClock(t0)
	s := NewSwitch(nil, "n", clock, registry)
	if problems, err := testutil.GatherAndLint(registry); err != nil || len(problems) > 0 {
		t.Errorf("%v %v", problems, err)
	}
	s.noteRenewal("1", "a=2026-11-21T21:14:00Z,b=2026-11-21T21:14:00Z,c=garbled,")
	check := func(everywhere, namespaces float64) {
		t.Helper()
		families, err := registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for i, want := range []float64{everywhere, namespaces} {
			if got := families[i].GetMetric()[0].GetGauge().GetValue(); got != want {
				t.Errorf("%s is %v, want %v", families[i].GetName(), got, want)
			}
		}
	}
	check(0, 2)
	clock.Step(2 * time.Minute)
	check(1, 2)
	s.noteRenewal("2", "")
	check(0, 0)
}

// logged counts the lines of a log that have these words.
type logged struct {
	mu    sync.Mutex
	lines []string
}

func (l *logged) with(ctx context.Context) context.Context {
	return log.IntoContext(ctx, funcr.New(func(_, args string) {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.lines = append(l.lines, args)
	}, funcr.Options{}))
}

func (l *logged) count(words string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := 0
	for _, line := range l.lines {
		if strings.Contains(line, words) {
			n++
		}
	}
	return n
}

func TestPulseAndSwitchRunUntilTheirContextEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newSwitchboard(true)
		for _, s := range b.switches {
			s.Clock, s.renewedAt = clock.RealClock{}, time.Now()
		}
		b.pulse.Clock = clock.RealClock{}
		var lines logged
		ctx, stop := context.WithCancel(lines.with(t.Context()))
		ended := make(chan error)
		go func() { ended <- b.pulse.Start(ctx) }()
		go func() { ended <- b.switches[0].Start(ctx) }()
		go func() { ended <- b.switches[1].Start(ctx) }()
		for _, step := range []struct {
			allowed bool
			why     bool
		}{{true, false}, {false, true}, {true, false}} {
			b.setAllowed(step.allowed)
			time.Sleep(3 * time.Minute)
			synctest.Wait()
			for i, s := range b.switches {
				if why := s.WhyNotHeld("n"); (why != "") != step.why {
					t.Errorf("allowed: %t; replica %d: %q", step.allowed, i, why)
				}
			}
		}
		stop()
		for range 3 {
			if err := <-ended; err != nil {
				t.Error(err)
			}
		}
		for words, want := range map[string]int{"held work cannot be released": 1, "no work is held from now on": 2, "work is held again": 2} {
			if got := lines.count(words); got != want {
				t.Errorf("the log says %d times that %s, want %d: %q", got, words, want, lines.lines)
			}
		}
		lease, err := b.clientset.CoordinationV1().Leases("n").Get(t.Context(), releasesLease, metav1.GetOptions{})
		if err != nil || *lease.Spec.HolderIdentity != "me" || *lease.Spec.LeaseDurationSeconds != 60 {
			t.Errorf("%+v, %v", lease, err)
		}
	})
}

func TestAPulseSaysWhyTheLeaseIsNotRenewed(t *testing.T) {
	for verb, want := range map[string]string{"get": "get Lease gridlatch-releases: no", "create": "renew Lease gridlatch-releases: no", "update": "renew Lease gridlatch-releases: no"} {
		b := newSwitchboard(true)
		if verb == "update" {
			if err := b.pulse.renewIfAble(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		b.clientset.PrependReactor(verb, "leases", func(clienttesting.Action) (bool, runtime.Object, error) { return true, nil, errors.New("no") })
		if err := b.pulse.renewIfAble(t.Context()); err == nil || err.Error() != want {
			t.Errorf("%s: %v, want %s", verb, err, want)
		}
	}
}
