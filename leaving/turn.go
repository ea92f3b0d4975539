package leaving

import (
	"context"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
	"sigs.k8s.io/controller-runtime/pkg/log"
)

// LeaseDuration and RenewDeadline are the times of the leader's lease, by which replicas that end take
// turns, too.
//
// When a leader is killed, due work stays held until the leader's lease ends. If the API server is
// away for longer than RenewDeadline, the leader's process ends, and another replica leads as soon
// as the API server is back. These figures were measured with two replicas and 20 pods that fall
// due:
//
//	lease, renewal          10 s, 7 s
//	leader is killed        released 10 to 12 s late
//	outage of 5 s           0.2 s after its end
//	outage of 15 s          1.4 s after its end, the leader has ended
//	outage of 30 s          0.6 s after its end, the leader has ended
//
// With a longer RenewDeadline, the leader's process would survive such an outage, which saves a
// second at most. A longer lease would make each change of leaders later. So both are short.
const (
	LeaseDuration = 10 * time.Second
	RenewDeadline = 7 * time.Second
)

const (
	// leaseRetryPeriod is how often a replica that ends asks for the lease.
	leaseRetryPeriod = time.Second
	// maxUnprotected is how often in a row the installation must be found unprotected before a replica
	// believes that another one has left. An API server that starts may refuse a request for no reason.
	maxUnprotected = 3
)

// awaitTurn returns true when this replica has the leader's lease, or when nobody can have the lease, because
// it is being removed, too. It returns false when another replica has left, so that nothing is left to
// do. The caller calls done at the end.
func (k *Keeper) awaitTurn(ctx context.Context) (done func(), isTurn bool) {
	ctx, cancel := context.WithCancel(ctx)
	hasTurn, ended := make(chan struct{}), make(chan struct{})
	elector, err := leaderelection.NewLeaderElector(leaderelection.LeaderElectionConfig{
		Lock: &resourcelock.LeaseLock{
			LeaseMeta:  metav1.ObjectMeta{Namespace: k.installation.Namespace, Name: name},
			Client:     k.clientset.CoordinationV1(),
			LockConfig: resourcelock.ResourceLockConfig{Identity: k.identity},
		},
		LeaseDuration: LeaseDuration, RenewDeadline: RenewDeadline, RetryPeriod: leaseRetryPeriod, ReleaseOnCancel: true,
		Callbacks: leaderelection.LeaderCallbacks{OnStartedLeading: func(context.Context) { close(hasTurn) }, OnStoppedLeading: func() {}},
	})
	if err != nil {
		log.FromContext(ctx).Error(err, "cannot take turns with other replicas")
		return cancel, true
	}
	go func() {
		defer close(ended)
		elector.Run(ctx)
	}()
	done = func() { cancel(); <-ended }
	for unprotected := 0; ; {
		select {
		case <-hasTurn:
			return done, true
		case <-ctx.Done():
			return done, true
		case <-k.installation.Clock.After(retryPause):
		}
		if !k.installation.isUnprotected(ctx) {
			unprotected = 0
			if k.hasNoLease(ctx) {
				return done, true
			}
		} else if unprotected++; unprotected == maxUnprotected {
			return done, false
		}
	}
}

// hasNoLease reports whether the lease was removed with Gridlatch, or the right to the lease.
func (k *Keeper) hasNoLease(ctx context.Context) bool {
	_, err := k.clientset.CoordinationV1().Leases(k.installation.Namespace).Get(ctx, name, metav1.GetOptions{})
	return apierrors.IsNotFound(err) || isDenied(err)
}
