package policy

import (
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Clock tells the time; k8s.io/utils/clock has one that tests can set.
type Clock interface{ Now() time.Time }

// Policies reads policies from a cache.
type Policies struct {
	Reader client.Reader
	Clock  Clock
	// Nodes tells where there are nodes. Without it, work is planned for the
	// first location of its policy.
	Nodes *Nodes
}

// abandoned is what takes the place of policies that do not exist: what they hold
// starts now.
func Abandoned() *Policy { return &Policy{gone: true} }
