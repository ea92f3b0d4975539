package trust

import (
	"context"
	"sync/atomic"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// presenceInterval is how often a Presence looks until both objects are there. KEDA's caches have what was there
// two looks in a row.
const presenceInterval = time.Second

// Presence tells whether KEDA can trust the scaler yet. KEDA 2.21 makes a scaler of a trigger once, when KEDA first sees
// the trigger. If the ClusterTriggerAuthentication is not there at that moment, the scaler trusts nobody, and KEDA keeps
// the scaler until the object or KEDA itself is changed or started again. So no trigger is rewritten before. A manager
// runs the Presence in every replica.
type Presence struct {
	// Live reads from the API server.
	Live client.Reader
	// Namespace is KEDA's.
	Namespace string
	Clock     clock.Clock

	isThere atomic.Bool
}

// IsThere reports whether both objects have been there for a moment.
func (p *Presence) IsThere() bool { return p.isThere.Load() }

// NeedLeaderElection returns false, because the webhook of every replica asks.
func (p *Presence) NeedLeaderElection() bool { return false }

// Start looks until both objects are there, and then less often whether they still are.
func (p *Presence) Start(ctx context.Context) error {
	for wasThere := false; ; {
		isThere := p.look(ctx)
		p.isThere.Store(isThere && wasThere)
		pause := presenceInterval
		if isThere && wasThere {
			pause = lookInterval
		}
		wasThere = isThere
		timer := p.Clock.NewTimer(pause)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-timer.C():
		}
	}
}

// look reports whether both objects are there. The ConfigMap comes first, because without KEDA the API server does not
// know the kind of the other one.
func (p *Presence) look(ctx context.Context) bool {
	for _, o := range []*unstructured.Unstructured{emptyConfigMap(p.Namespace), emptyAuthentication()} {
		if p.Live.Get(ctx, client.ObjectKeyFromObject(o), o) != nil {
			return false
		}
	}
	return true
}
