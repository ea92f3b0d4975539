package scaler

import (
	"sync"
	"time"

	"k8s.io/utils/clock"
)

// alarms wake streams at times. The streams that wake at the same time share a timer. The zero value can
// be used.
type alarms struct {
	mu sync.Mutex
	at map[time.Time]*alarm
}

// alarm is one time.
type alarm struct {
	at      time.Time
	rung    chan struct{} // closed at the time
	timer   clock.Timer
	waiting int // under the mutex of the alarms
}

// set returns the alarm of a time. The caller has to drop the alarm.
func (a *alarms) set(c Clock, at time.Time) *alarm {
	a.mu.Lock()
	defer a.mu.Unlock()
	set := a.at[at]
	if set == nil {
		rung := make(chan struct{})
		set = &alarm{at: at, rung: rung, timer: c.AfterFunc(at.Sub(c.Now()), func() { close(rung) })}
		if a.at == nil {
			a.at = map[time.Time]*alarm{}
		}
		a.at[at] = set
	}
	set.waiting++
	return set
}

// drop takes back an alarm for one of the callers that have set it.
func (a *alarms) drop(set *alarm) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if set.waiting--; set.waiting == 0 {
		set.timer.Stop()
		delete(a.at, set.at)
	}
}
