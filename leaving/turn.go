package leaving

import (
	"context"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
	"sigs.k8s.io/controller-runtime/pkg/log"
)

// These are the times of the leader's lease, which the replicas that end share.
const (
	leaseDuration    = 10 * time.Second
	renewDeadline    = 7 * time.Second
	leaseRetryPeriod = time.Second
)

// awaitTurn returns when this replica has the leader's lease, or when nobody can have the lease, because
// it is being removed, too. The caller calls done at the end.
func (k *Keeper) awaitTurn(ctx context.Context) (done func()) {
	ctx, cancel := context.WithCancel(ctx)
	hasTurn, ended := make(chan struct{}), make(chan struct{})
	elector, err := leaderelection.NewLeaderElector(leaderelection.LeaderElectionConfig{
		Lock: &resourcelock.LeaseLock{
			LeaseMeta:  metav1.ObjectMeta{Namespace: k.installation.Namespace, Name: name},
			Client:     k.clientset.CoordinationV1(),
			LockConfig: resourcelock.ResourceLockConfig{Identity: k.identity},
		},
		LeaseDuration: leaseDuration, RenewDeadline: renewDeadline, RetryPeriod: leaseRetryPeriod, ReleaseOnCancel: true,
		Callbacks: leaderelection.LeaderCallbacks{OnStartedLeading: func(context.Context) { close(hasTurn) }, OnStoppedLeading: func() {}},
	})
	if err != nil {
		log.FromContext(ctx).Error(err, "cannot take turns with other replicas")
		return cancel
	}
	go func() {
		defer close(ended)
		elector.Run(ctx)
	}()
	done = func() { cancel(); <-ended }
	select {
	case <-hasTurn:
		return done
	case <-ctx.Done():
		return done
	case <-k.installation.Clock.After(2 * leaseDuration):
	}
	if elector.GetLeader() == "" {
		return done
	}
	select {
	case <-hasTurn:
	case <-ctx.Done():
	}
	return done
}
