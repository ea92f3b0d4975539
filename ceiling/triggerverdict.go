package ceiling

import (
	"context"
	"fmt"
	"math"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/gridlatch/gridlatch/trigger"
)

// judgement is what a trigger comes to at one moment.
type judgement struct {
	trigger.Verdict
	// isPending says that it is too early for a verdict. The target is left as it is.
	isPending bool
}

// why returns the reason of a judgement, for people.
func (j *judgement) why() string {
	if j == nil {
		return "no trigger asks for a pause any more"
	}
	return j.Reason
}

// triggerState is what the grid is for a trigger.
type triggerState string

const (
	triggerClean    triggerState = "clean"
	triggerDirty    triggerState = "dirty"
	triggerUnknown  triggerState = "unknown"
	triggerMistaken triggerState = "mistaken"
)

// triggerStates returns the states of triggers that are carried out.
func triggerStates() []triggerState {
	return []triggerState{triggerClean, triggerDirty, triggerUnknown}
}

// state returns what the grid is for the trigger.
func (j *judgement) state() triggerState {
	switch {
	case j == nil || j.IsMistake:
		return triggerMistaken
	case !j.IsKnown:
		return triggerUnknown
	case j.IsClean():
		return triggerClean
	default:
		return triggerDirty
	}
}

// judge returns what the trigger of a target comes to, nil if no trigger can be used.
func (c *Controller) judge(ctx context.Context, t *target, now time.Time) (*judgement, error) {
	if !t.carbon.isUsable() {
		c.triggerMemory(t.ref()).source.Store(nil)
		return nil, nil
	}
	wish := &t.carbon.wish
	level, source, err := c.levels.Level(ctx, wish.Policy, wish.Region, now)
	if apierrors.IsNotFound(err) {
		return &judgement{Verdict: trigger.Verdict{Share: 1, IsMistake: true, Reason: fmt.Sprintf("CarbonPolicy %.80q does not exist", wish.Policy)}}, nil
	}
	if err != nil {
		return nil, err
	}
	c.triggerMemory(t.ref()).follow(source)
	j := &judgement{Verdict: wish.Judge(level, now)}
	j.isPending = !j.IsKnown && c.isTooEarly(source, t, now)
	return j, nil
}

// announceTurn tells of a grid that has turned clean or dirty, and of a trigger that cannot be used,
// once. What was so when this process began is no news.
func (c *Controller) announceTurn(t *target, j *judgement, now time.Time) {
	if !t.carbon.isTold() || j != nil && j.isPending {
		return
	}
	m, state := c.triggerMemory(t.ref()), j.state()
	c.Metrics.countTrigger(t.ref(), state)
	if state == triggerMistaken {
		mistake := t.carbon.mistake
		if mistake == "" {
			mistake = j.Reason
		}
		m.state = state
		c.warnOfTrigger(t, EventTriggerInvalid, shortened(mistake, maxReasonBytes))
		return
	}
	delete(m.warned, EventTriggerInvalid)
	before := m.state
	m.state = state
	if before == state || before == "" && !c.isNews(t, m, now) {
		return
	}
	switch state {
	case triggerUnknown:
		c.announceTrigger(t, corev1.EventTypeWarning, EventTriggerUnknown, j.Reason)
	case triggerClean:
		c.announceTrigger(t, corev1.EventTypeNormal, EventTriggerClean, j.Reason)
	default:
		c.announceTrigger(t, corev1.EventTypeNormal, EventTriggerDirty, j.Reason)
	}
}

// isNews reports whether a trigger that is seen for the first time was not there before this process
// began.
func (c *Controller) isNews(t *target, m *triggerMemory, now time.Time) bool {
	return m.isNew || !t.CreationTimestamp.Time.Before(c.started.Truncate(time.Second)) || now.After(c.started.Add(startGrace))
}

// ceilingOf returns the verdict of a trigger on its target's ceiling.
func (t *target) ceilingOf(j *judgement) verdict {
	v := verdict{isCapped: true}
	if j == nil {
		v.reason = "no ceiling: the trigger " + trigger.Type + " cannot be used"
		return v
	}
	v.isPending, v.until, v.detail = j.isPending, j.Until, j.Reason
	switch {
	case j.IsMistake:
		v.reason = "no ceiling: the trigger " + trigger.Type + " cannot be used"
	case !j.IsKnown:
		v.reason = "no ceiling: nothing is known of the grid"
	case j.Share >= 1:
		v.reason = "no ceiling: the grid is clean for the trigger " + trigger.Type
	default:
		share := j.Share
		if math.IsNaN(share) || share < 0 {
			share = 0
		}
		ceiling := t.shareOf(share)
		if !t.carbon.wish.IsCeiling {
			ceiling = max(ceiling, 1) // the scaler itself goes to the minimum
		}
		v.ceiling, v.followsIntensity = &ceiling, true
		v.reason = fmt.Sprintf("the grid is clean to %.0f%% for the trigger %s", share*100, trigger.Type)
		if share == 0 {
			v.reason = "the grid is dirty for the trigger " + trigger.Type
		}
	}
	return v
}

// shareOf returns a share of what the owner lets the target scale by, above its minimum.
func (t *target) shareOf(share float64) int32 {
	most := float64(effective(replicas(t.standing(t.record()).Original)))
	least := min(float64(t.minCeiling), most)
	const roundingError = 1e-9
	return int32(math.Ceil(least + (most-least)*share - roundingError))
}
