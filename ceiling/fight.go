package ceiling

import (
	"fmt"
	"time"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/plan"
)

const (
	// A change of ours that somebody else undoes is made again after a second,
	// then after twice as long each time, up to an hour.
	firstRest = time.Second
	longRest  = time.Hour
	// forgotten is how long a change has to stand for all to be forgotten.
	forgotten = 2 * time.Hour
)

// fight is how often somebody else has undone our changes to a target.
type fight struct {
	rounds int
	again  time.Time // when our change may be made again
	struck bool      // the last change was undone, and not yet made again
	fresh  bool      // hold has counted a round just now
}

// hold returns from when on a change may be made.
func (f *fight) hold(undone bool, now time.Time) time.Time {
	f.fresh = undone && !f.struck
	if f.fresh {
		if now.Sub(f.again) > forgotten {
			f.rounds = 0
		}
		f.again = now.Add(min(firstRest<<min(f.rounds, 12), longRest))
		f.rounds++
	}
	f.struck = undone
	if !undone {
		return now
	}
	return f.again
}

// undoneBy says what somebody else has done, and what to do about it.
func undoneBy(c *change, again time.Time) string {
	if !c.reverted {
		return fmt.Sprintf("maxReplicaCount was changed to %s, which is what will come back when the ceiling goes; the ceiling is set again at %s. To go without, take the annotation %s away",
			printReplicas(c.original), again.UTC().Format(time.RFC3339), v1alpha1.PolicyAnnotation)
	}
	return fmt.Sprintf("somebody changes maxReplicaCount, or the pause, back to what it was: the ceiling is set again at %s, and ever less often. "+
		"If it is a GitOps tool, leave maxReplicaCount out of its manifest, or have it ignore the field: in Argo CD, ignoreDifferences with managedFieldsManagers [%s] and RespectIgnoreDifferences=true; in Flux, ignore with paths [/spec/maxReplicaCount]",
		plan.FormatTime(again), Manager)
}
