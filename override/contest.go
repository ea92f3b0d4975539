package override

import (
	"fmt"
	"time"
)

const (
	// A change of ours that somebody else undoes is made again after firstPause, then after twice
	// as long each time, up to longestPause.
	firstPause   = time.Second
	longestPause = time.Hour
	// maxDoublings is how often the pause doubles: 2^12 s are more than longestPause.
	maxDoublings = 12
	// contestMemory is how long a change has to last for the contest to begin anew.
	contestMemory = 2 * time.Hour
)

// Contest counts how often somebody else has undone our changes of one object. The zero Contest has
// counted nothing.
type Contest struct {
	rounds int
	// again is when our change may be made again.
	again time.Time
	// isLost says that our last change was undone, and not made again yet.
	isLost bool
}

// Wait returns from when on a change may be made. isUndone says that somebody else has undone our
// last change. isNew says that this was not known at the last call.
func (c *Contest) Wait(isUndone bool, now time.Time) (again time.Time, isNew bool) {
	isNew = isUndone && !c.isLost
	if isNew {
		if now.Sub(c.again) > contestMemory {
			c.rounds = 0
		}
		c.again = now.Add(min(firstPause<<min(c.rounds, maxDoublings), longestPause))
		c.rounds++
	}
	c.isLost = isUndone
	if !isUndone {
		return now, false
	}
	if c.again.Sub(now) > longestPause { // the clock has gone back
		c.again = now.Add(longestPause)
	}
	return c.again, isNew
}

// Resume notes that our change was made again.
func (c *Contest) Resume() { c.isLost = false }

// GitOpsAdvice returns how to end a contest with a tool that keeps objects as they are in git.
func GitOpsAdvice(f Field) string {
	names := f.names()
	return fmt.Sprintf("If a GitOps tool does this, leave %s out of its manifest, or let the tool ignore the field: "+
		"in Argo CD, ignoreDifferences with managedFieldsManagers [%s] and RespectIgnoreDifferences=true; in Flux, ignore with paths [%s]",
		names[len(names)-1], Manager, f)
}
