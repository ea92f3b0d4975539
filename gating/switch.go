package gating

import (
	"context"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/policy"
)

// The Lease by which the leader says that held work can be released.
const (
	// releasesLease is the name of the Lease, in Gridlatch's own namespace. The leader renews it
	// for as long as it is able to release work.
	releasesLease = "gridlatch-releases"
	// releasesFailingAnnotation says where releases have failed for a minute with no success, and
	// since when, such as team-a=2026-11-21T21:14:00Z, separated by commas. * is every namespace.
	releasesFailingAnnotation = v1alpha1.Prefix + "releases-failing"
)

const (
	// leaseInterval is how often the leader renews the Lease, and every replica reads it.
	leaseInterval = 10 * time.Second
	// leaseLifetime is how old the Lease may be for work to be held. It is several intervals, and
	// longer than another leader takes to take over.
	leaseLifetime = time.Minute
	// everywhere stands for every namespace.
	everywhere = "*"
)

// Switch is a dead man's switch: work is held only while somebody is able to release it. Every
// replica watches the Lease releasesLease with its own clock, because the clock of the writer may
// be wrong. The start of a replica counts as a renewal, so that a new installation holds work at
// once.
type Switch struct {
	// Clientset is nil where no leader is elected. Then [Pulse] tells the switch about renewals.
	Clientset kubernetes.Interface
	// Namespace is Gridlatch's own.
	Namespace string
	Clock     policy.Clock

	mu          sync.Mutex
	renewalMark string    // tells one renewal from the next
	renewedAt   time.Time // by our clock
	failing     map[string]time.Time
}

// NewSwitch returns a switch that was renewed now, and registers its metrics.
func NewSwitch(clientset kubernetes.Interface, namespace string, clock policy.Clock, registry prometheus.Registerer) *Switch {
	s := &Switch{Clientset: clientset, Namespace: namespace, Clock: clock, renewedAt: clock.Now()}
	registry.MustRegister(
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "gridlatch_releases_failing", Help: "1 if no work is held in any namespace, because held work could not be released for a minute.",
		}, func() float64 { return oneIf(s.whyNoneHeld() != "") }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "gridlatch_releases_failing_namespaces", Help: "Namespaces in which no work is held, because held work there could not be released for a minute.",
		}, func() float64 {
			s.mu.Lock()
			defer s.mu.Unlock()
			return float64(len(s.failing))
		}))
	return s
}

// WhyNotHeld says why no work may be held in a namespace; empty if work may be held.
func (s *Switch) WhyNotHeld(namespace string) string {
	if why := s.whyNoneHeld(); why != "" {
		return why
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if since, failing := s.failing[namespace]; failing {
		return whyNotReleased(failingNamespace{namespace, since})
	}
	return ""
}

// whyNoneHeld says why no work may be held in any namespace; empty if work may be held in some.
func (s *Switch) whyNoneHeld() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	since, failing := s.failing[everywhere]
	switch {
	case s.Clock.Now().Sub(s.renewedAt) > leaseLifetime:
		return whyNotReleased(failingNamespace{since: s.renewedAt})
	case failing:
		return whyNotReleased(failingNamespace{since: since})
	default:
		return ""
	}
}

func whyNotReleased(s failingNamespace) string {
	return "held work could not be released " + s.String()
}

// Start reads the Lease every ten seconds until the context ends; for a manager.
func (s *Switch) Start(ctx context.Context) error {
	before := ""
	wait.UntilWithContext(ctx, func(ctx context.Context) {
		s.read(ctx)
		if why := s.whyNoneHeld(); (why == "") != (before == "") {
			if before = why; why != "" {
				log.FromContext(ctx).Info("no work is held from now on", "why", why)
			} else {
				log.FromContext(ctx).Info("work is held again")
			}
		}
	}, leaseInterval)
	return nil
}

// NeedLeaderElection makes a manager run the switch in every replica: each answers for the webhook.
func (s *Switch) NeedLeaderElection() bool { return false }

// read reads the Lease. A Lease that cannot be read counts as not renewed.
func (s *Switch) read(ctx context.Context) {
	if s.Clientset == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, leaseInterval/2)
	defer cancel()
	lease, err := s.Clientset.CoordinationV1().Leases(s.Namespace).Get(ctx, releasesLease, metav1.GetOptions{})
	if err != nil {
		log.FromContext(ctx).V(1).Info("cannot read whether releases succeed", "why", err.Error())
		return
	}
	s.noteRenewal(lease.ResourceVersion, lease.Annotations[releasesFailingAnnotation])
}

// noteRenewal notes a renewal, unless it is the one that was noted before.
func (s *Switch) noteRenewal(mark, failing string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if mark != s.renewalMark {
		s.renewalMark, s.renewedAt, s.failing = mark, s.Clock.Now(), parseFailing(failing)
	}
}

// formatFailing returns the value of the annotation releasesFailingAnnotation.
func formatFailing(all []failingNamespace) string {
	list := make([]string, len(all))
	for i, s := range all {
		if list[i] = s.name + "=" + policy.FormatTime(s.since); s.name == "" {
			list[i] = everywhere + list[i]
		}
	}
	return strings.Join(list, ",")
}

// parseFailing reads what formatFailing has written, and leaves out what it cannot read.
func parseFailing(list string) map[string]time.Time {
	failing := map[string]time.Time{}
	for item := range strings.SplitSeq(list, ",") {
		namespace, at, _ := strings.Cut(item, "=")
		if since, err := time.Parse(time.RFC3339, at); err == nil && len(failing) < maxFailingNamespaces {
			failing[namespace] = since
		}
	}
	return failing
}
