package faults

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/gridlatch/gridlatch/test/env"
)

const (
	webhookName = "gridlatch"
	caSecret    = "gridlatch-ca"
)

// A fault is what happens to an installation that works.
type fault struct {
	name string
	// prepare is called before there is work; it may be nil, as may all that follows.
	prepare func(context.Context, *suite) error
	// begin has the fault happen. It lasts for a while, until end brings back what nobody would bring
	// back by itself. after leaves the installation as it was found, whatever happened.
	begin func(context.Context, *suite) error
	lasts time.Duration
	end   func(context.Context, *suite) error
	after func(context.Context, *suite) error
	// stopsReleases says that nobody can release work from the begin of the fault to its end.
	stopsReleases bool
	// changesLeader says that another replica has to lead.
	changesLeader bool
	// startsEarly says that work may not be held at all.
	startsEarly bool
	// resolution is how late work may be in addition.
	resolution time.Duration
}

// notInName is what a namespace's name may not have.
var notInName = regexp.MustCompile("[^a-z0-9]+")

// namespace is where the work is that the fault meets in one attempt.
func (f fault) namespace(attempt int) string {
	return fmt.Sprintf("%s-%d", notInName.ReplaceAllString(strings.ToLower(f.name), "-"), attempt)
}

// waves is how many waves of work are due, so that the fault happens among them and some come after it.
func (f fault) waves() int { return 8 + int(f.lasts/wavePause) }

func faults() []fault {
	return slices.Concat([]fault{
		leaderKilled(),
		{
			name: "both killed, one started again", begin: killBoth, end: startFirst, after: startSecond, lasts: 2 * time.Second,
			stopsReleases: true, changesLeader: true,
		},
		{
			name: "API server killed, restarted", lasts: 10 * time.Second, end: restartAPIServer,
			begin:         func(_ context.Context, s *suite) error { return s.cluster.KillComponent(env.APIServer) },
			stopsReleases: true, changesLeader: true,
		},
		{
			name: "etcd stopped for 20 s", lasts: 20 * time.Second, end: resumeEtcd,
			begin:         func(_ context.Context, s *suite) error { return s.cluster.PauseComponent(env.Etcd) },
			stopsReleases: true, changesLeader: true,
		},
		leaderCutOff(),
	}, ofDocuments(), ofClocks())
}

// leaderKilled has the leader away for good, as with its node.
func leaderKilled() fault {
	var killed *env.Replica
	return fault{
		name: "leader killed", lasts: 14 * time.Second, changesLeader: true,
		begin: func(ctx context.Context, s *suite) error {
			if killed = s.replicas.Leader(ctx); killed == nil {
				return errors.New("no replica leads")
			}
			return killed.Kill()
		},
		after: func(ctx context.Context, _ *suite) error {
			if killed == nil {
				return nil
			}
			return killed.Start(ctx, env.Clock{})
		},
	}
}

func killBoth(_ context.Context, s *suite) error {
	return errors.Join(s.replicas.All[0].Kill(), s.replicas.All[1].Kill())
}

func startFirst(ctx context.Context, s *suite) error {
	return s.replicas.All[0].Start(ctx, env.Clock{})
}

func startSecond(ctx context.Context, s *suite) error {
	return s.replicas.All[1].Start(ctx, env.Clock{})
}

func restartAPIServer(ctx context.Context, s *suite) error {
	if err := s.cluster.StartComponent(env.APIServer); err != nil {
		return err
	}
	return awaitAPIServer(ctx, s)
}

func resumeEtcd(ctx context.Context, s *suite) error {
	if err := s.cluster.ResumeComponent(env.Etcd); err != nil {
		return err
	}
	return awaitAPIServer(ctx, s)
}

// awaitAPIServer returns when the API server says that it is ready.
func awaitAPIServer(ctx context.Context, s *suite) error {
	return poll(ctx, func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		return s.clientset.Discovery().RESTClient().Get().AbsPath("/readyz").Do(ctx).Error()
	})
}

// leaderCutOff has the leader alive, and hear nothing of the API server.
func leaderCutOff() fault {
	var cut *env.Replica
	return fault{
		name: "leader cut off from the API server", lasts: 20 * time.Second, changesLeader: true,
		begin: func(ctx context.Context, s *suite) error {
			if cut = s.replicas.Leader(ctx); cut == nil {
				return errors.New("no replica leads")
			}
			cut.Link.Cut()
			return nil
		},
		end: func(context.Context, *suite) error {
			if cut != nil {
				cut.Link.Mend()
			}
			return nil
		},
	}
}

// ofDocuments are the faults of what Gridlatch reads from the API server, or writes there.
func ofDocuments() []fault {
	return []fault{
		{
			name: "certificate expired", prepare: shortenCA, begin: awaitExpiry, lasts: 6 * time.Second,
			end: func(ctx context.Context, s *suite) error { return s.replicas.Certs.Start(ctx) },
		},
		{name: "CA Secret deleted", begin: func(ctx context.Context, s *suite) error {
			return s.clientset.CoreV1().Secrets(env.Namespace).Delete(ctx, caSecret, metav1.DeleteOptions{})
		}},
		{name: "CA Secret garbled", begin: func(ctx context.Context, s *suite) error {
			return s.writeCA(ctx, []byte("garbage"), []byte("garbage"))
		}},
		{name: "caBundle emptied", begin: func(ctx context.Context, s *suite) error { return s.writeBundle(ctx, nil) }},
		{name: "forecast garbled", lasts: 6 * time.Second, begin: func(ctx context.Context, s *suite) error {
			return s.cluster.ForecastData(ctx, []byte(`[{"location":"CAI`))
		}},
	}
}

// shortenCA puts a CA in place that expires soon, and has nobody there to renew it.
func shortenCA(ctx context.Context, s *suite) error {
	if err := s.replicas.Certs.Stop(); err != nil {
		return err
	}
	certificate, key, err := env.NewCertificate(s.expiry())
	if err != nil {
		return err
	}
	if err := s.writeCA(ctx, certificate, key); err != nil {
		return err
	}
	return s.writeBundle(ctx, certificate)
}

// expiry chooses when a certificate expires that is made before the work, and expires when its
// first waves are due.
func (s *suite) expiry() time.Time {
	s.expiresAt = time.Now().Add(s.lead + beginsAfter + 2*time.Second)
	return s.expiresAt
}

// awaitExpiry returns when the API server trusts the webhook no more.
func awaitExpiry(ctx context.Context, s *suite) error {
	if err := sleepUntil(ctx, s.expiresAt); err != nil {
		return err
	}
	s.replicas.Service.Drop() // whoever is connected does not look at the certificate again
	return poll(ctx, func(ctx context.Context) error {
		if s.probe(ctx) == nil {
			return errors.New("the webhook is still trusted")
		}
		return nil
	})
}

// writeCA replaces the CA and its key.
func (s *suite) writeCA(ctx context.Context, certificate, key []byte) error {
	secrets := s.clientset.CoreV1().Secrets(env.Namespace)
	secret, err := secrets.Get(ctx, caSecret, metav1.GetOptions{})
	if err != nil {
		return fmt.Errorf("get the CA: %w", err)
	}
	secret.Data["tls.crt"], secret.Data["ca.crt"], secret.Data["tls.key"] = certificate, certificate, key
	if _, err := secrets.Update(ctx, secret, metav1.UpdateOptions{}); err != nil {
		return fmt.Errorf("write the CA: %w", err)
	}
	return nil
}

// writeBundle replaces whom the API server trusts as the webhook.
func (s *suite) writeBundle(ctx context.Context, bundle []byte) error {
	configurations := s.clientset.AdmissionregistrationV1().MutatingWebhookConfigurations()
	configuration, err := configurations.Get(ctx, webhookName, metav1.GetOptions{})
	if err != nil {
		return fmt.Errorf("get the webhook's configuration: %w", err)
	}
	for i := range configuration.Webhooks {
		configuration.Webhooks[i].ClientConfig.CABundle = bundle
	}
	if _, err := configurations.Update(ctx, configuration, metav1.UpdateOptions{}); err != nil {
		return fmt.Errorf("write the webhook's configuration: %w", err)
	}
	return nil
}

// ofClocks are those in which the clock of the leader is not that of the other replica and of the
// API server.
func ofClocks() []fault {
	shift := func(ahead time.Duration) func(context.Context, *suite) error {
		return func(ctx context.Context, s *suite) error {
			program, err := env.BuildShifted(ctx)
			if err != nil {
				return err
			}
			return s.startLeader(ctx, env.Clock{Program: program, Ahead: ahead})
		}
	}
	right := func(ctx context.Context, s *suite) error { return s.startLeader(ctx, env.Clock{}) }
	return []fault{
		{name: "clock of the leader 5 min behind", prepare: shift(-5 * time.Minute), after: right, resolution: time.Second}, // that of the API server's word
		{name: "clock of the leader 5 min ahead", prepare: shift(5 * time.Minute), after: right, startsEarly: true},
	}
}

// startLeader starts both replicas anew, so that the first leads, with a clock of its own.
func (s *suite) startLeader(ctx context.Context, clock env.Clock) error {
	first, second := s.replicas.All[0], s.replicas.All[1]
	if err := errors.Join(second.Stop(), first.Stop()); err != nil {
		return err
	}
	if err := first.Start(ctx, clock); err != nil {
		return err
	}
	if err := poll(ctx, func(ctx context.Context) error {
		if s.replicas.Leader(ctx) != first {
			return errors.New("the replica does not lead yet")
		}
		return nil
	}); err != nil {
		return err
	}
	return second.Start(ctx, env.Clock{})
}
