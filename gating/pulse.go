package gating

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/gridlatch/gridlatch/policy"
)

// reviewInterval is how often the API server is asked what Gridlatch may do.
const reviewInterval = 30 * time.Second

// Pulse renews the Lease releasesLease for as long as held work can be released: Gridlatch may
// patch pods and Jobs, and releases do not fail everywhere. All fields are required.
type Pulse struct {
	Clientset kubernetes.Interface
	// Namespace is Gridlatch's own. Identity is the name of this replica.
	Namespace, Identity string
	Clock               policy.Clock
	Health              *ReleaseHealth
	// Switch is told of every renewal where no leader is elected, and so no Lease is written.
	Switch *Switch

	reviewedAt time.Time // when the API server last said that Gridlatch may release work
	renewals   int
}

// Start renews the Lease every ten seconds until the context ends; for a manager. It logs a failure
// once.
func (p *Pulse) Start(ctx context.Context) error {
	before := ""
	wait.UntilWithContext(ctx, func(ctx context.Context) {
		err, now := p.renewIfAble(ctx), ""
		if err != nil {
			now = err.Error()
		}
		if now != before && now != "" && ctx.Err() == nil {
			log.FromContext(ctx).Error(err, "held work cannot be released; if this goes on for a minute, no more work is held")
		}
		before = now
	}, leaseInterval)
	return nil
}

// NeedLeaderElection makes a manager run the pulse on the leader, beside the loop.
func (p *Pulse) NeedLeaderElection() bool { return true }

// renewIfAble renews the Lease once, if held work can be released.
func (p *Pulse) renewIfAble(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, leaseInterval/2)
	defer cancel()
	now := p.Clock.Now()
	if now.Sub(p.reviewedAt) >= reviewInterval {
		if err := p.review(ctx); err != nil {
			return err
		}
		p.reviewedAt = now
	}
	failing := formatFailing(p.Health.failingNamespaces(now))
	if p.Switch.Clientset == nil {
		p.renewals++
		p.Switch.noteRenewal(strconv.Itoa(p.renewals), failing)
		return nil
	}
	return p.renew(ctx, failing, now)
}

// review asks the API server whether Gridlatch may release pods and Jobs in any namespace. Whether
// Gridlatch may release other kinds is asked by [Records]: without that right, only they are not held.
func (p *Pulse) review(ctx context.Context) error {
	for _, resource := range []schema.GroupResource{{Resource: "pods"}, {Group: "batch", Resource: "jobs"}} {
		may, err := mayPatch(ctx, p.Clientset, resource)
		if err != nil {
			return err
		}
		if !may {
			return errors.New("the API server says that Gridlatch may not patch pods and Jobs: is the ClusterRoleBinding gridlatch there?")
		}
	}
	return nil
}

// renew writes the Lease.
func (p *Pulse) renew(ctx context.Context, failing string, now time.Time) error {
	leases := p.Clientset.CoordinationV1().Leases(p.Namespace)
	lease, err := leases.Get(ctx, releasesLease, metav1.GetOptions{})
	missing := apierrors.IsNotFound(err)
	if err != nil && !missing {
		return fmt.Errorf("get Lease %s: %w", releasesLease, err)
	}
	if missing {
		lease = &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{
			Name: releasesLease, Labels: map[string]string{"app.kubernetes.io/name": "gridlatch"},
		}}
	}
	lease.Spec.HolderIdentity, lease.Spec.LeaseDurationSeconds = &p.Identity, ptr.To(int32(leaseLifetime.Seconds()))
	lease.Spec.RenewTime = ptr.To(metav1.NewMicroTime(now))
	metav1.SetMetaDataAnnotation(&lease.ObjectMeta, releasesFailingAnnotation, failing)
	if missing {
		_, err = leases.Create(ctx, lease, metav1.CreateOptions{})
	} else {
		_, err = leases.Update(ctx, lease, metav1.UpdateOptions{})
	}
	if err != nil {
		return fmt.Errorf("renew Lease %s: %w", releasesLease, err)
	}
	return nil
}
