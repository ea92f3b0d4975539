package leaving

import (
	"context"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/controller-runtime/pkg/log"
)

const (
	// pollInterval is how often each replica looks at the installation.
	pollInterval = 5 * time.Second
	// readTimeout bounds one look.
	readTimeout = 4 * time.Second
	// holdAgainAfter is how long after a leave no work is held. By then every part has noticed which
	// rights are left.
	holdAgainAfter = time.Minute
)

// Keeper keeps the finalizer on the anchors while Gridlatch is installed, and leaves when Gridlatch is
// being removed. Each replica has one. NewKeeper makes it.
type Keeper struct {
	installation Installation
	clientset    kubernetes.Interface
	identity     string
	// elected is closed once this replica leads.
	elected <-chan struct{}

	mu       sync.Mutex
	known    bool // the installation was read
	problem  error
	standing standing
	since    time.Time // of the leave
	heldBack time.Time // until when no work is held after a leave
	hasLeft  bool
}

// NewKeeper returns the keeper of a replica. elected is closed once the replica leads.
func NewKeeper(installation Installation, clientset kubernetes.Interface, identity string, elected <-chan struct{}) *Keeper {
	return &Keeper{installation: installation, clientset: clientset, identity: identity, elected: elected}
}

// WhyNotHeld says why no work may be held; empty if work may be held.
func (k *Keeper) WhyNotHeld() string {
	k.mu.Lock()
	defer k.mu.Unlock()
	switch {
	case k.standing.why != "":
		return "Gridlatch is being removed: " + k.standing.why
	case len(k.standing.components) > 0:
		return "the component " + k.standing.components[0] + " of Gridlatch is being removed"
	case !k.known:
		return "Gridlatch has just started, and does not know yet whether it is being removed"
	case k.installation.Clock.Now().Before(k.heldBack):
		return "a part of Gridlatch was just removed"
	default:
		return ""
	}
}

// Start looks at the installation every few seconds until the context ends; for a manager.
func (k *Keeper) Start(ctx context.Context) error {
	wait.UntilWithContext(ctx, k.look, pollInterval)
	return nil
}

// NeedLeaderElection makes a manager run the keeper in every replica: each stops holding work.
func (k *Keeper) NeedLeaderElection() bool { return false }

// look looks at the installation once. The leader then protects it, or leaves.
func (k *Keeper) look(ctx context.Context) {
	readCtx, cancel := context.WithTimeout(ctx, readTimeout)
	s, err := k.installation.read(readCtx)
	cancel()
	k.note(ctx, s, err)
	switch {
	case ctx.Err() != nil:
	case !s.isLeaving():
		if err == nil && k.leads() {
			err = k.installation.protect(ctx, s.unprotected)
		}
		k.logProblem(ctx, err)
	case k.leads():
		k.leave(ctx)
	}
}

// leads reports whether this replica leads.
func (k *Keeper) leads() bool {
	select {
	case <-k.elected:
		return true
	default:
		return false
	}
}

// note notes how the installation stands. What is known of a leave stays as long as not everything
// can be read: with its rights, Gridlatch may lose the sight of itself.
func (k *Keeper) note(ctx context.Context, s standing, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	now := k.installation.Clock.Now()
	wasLeaving := k.standing.isLeaving()
	switch {
	case s.isLeaving():
		if !wasLeaving {
			k.since = now
			log.FromContext(ctx).Info("no work is held from now on: Gridlatch is being removed", "why", s.why, "components", s.components)
		}
		k.standing, k.hasLeft = s, k.hasLeft && k.standing.why == s.why
	case err == nil:
		if wasLeaving {
			k.heldBack = now.Add(holdAgainAfter)
		}
		k.standing, k.known, k.hasLeft = s, true, false
	}
}

// leave leaves once.
func (k *Keeper) leave(ctx context.Context) {
	k.mu.Lock()
	s, since, hasLeft := k.standing, k.since, k.hasLeft
	k.mu.Unlock()
	if hasLeft {
		return
	}
	err := k.installation.leave(ctx, s, since)
	k.logProblem(ctx, err)
	if err == nil && s.why != "" {
		k.mu.Lock()
		k.hasLeft = true
		k.mu.Unlock()
	}
}

// logProblem logs a problem unless it was logged before.
func (k *Keeper) logProblem(ctx context.Context, err error) {
	k.mu.Lock()
	isNew := err != nil && (k.problem == nil || k.problem.Error() != err.Error())
	k.problem = err
	k.mu.Unlock()
	if isNew && ctx.Err() == nil {
		log.FromContext(ctx).Error(err, "cannot keep or leave the installation; this is tried again")
	}
}

// LeaveAtEnd leaves if Gridlatch is being removed; for the end of the process. Of the replicas that end
// at the same time, one releases everything. Another one goes on if the first is killed.
func (k *Keeper) LeaveAtEnd(ctx context.Context) error {
	s, err := k.installation.readPatiently(ctx)
	k.note(ctx, s, err)
	k.mu.Lock()
	s, since, hasLeft := k.standing, k.since, k.hasLeft
	k.mu.Unlock()
	switch {
	case !s.isLeaving():
		return err
	case hasLeft:
		return nil
	}
	done := k.awaitTurn(ctx)
	defer done()
	if k.installation.hasNoRights(ctx) {
		log.FromContext(ctx).Info("the ServiceAccount or its rights are gone: another replica has released all held work, or somebody has removed the finalizer by hand")
		return nil
	}
	return k.installation.leave(ctx, s, since)
}
