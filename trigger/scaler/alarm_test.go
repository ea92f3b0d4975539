package scaler

import (
	"testing"
	"time"

	clocktesting "k8s.io/utils/clock/testing"
)

func TestAlarmsOfTheSameTimeShareATimer(t *testing.T) {
	c, a := clocktesting.NewFakeClock(t0), &alarms{}
	first, second, later := a.set(c, t0.Add(time.Minute)), a.set(c, t0.Add(time.Minute)), a.set(c, t0.Add(time.Hour))
	if first != second || first == later {
		t.Error("the alarms of one time are not one, or those of two times are")
	}
	c.Step(time.Minute)
	select {
	case <-first.rung:
	default:
		t.Error("the time has come, and nothing rings")
	}
	select {
	case <-later.rung:
		t.Error("an alarm rings too early")
	default:
	}
	a.drop(first)
	if len(a.at) != 2 {
		t.Errorf("%d times are known, although one alarm is still held", len(a.at))
	}
	a.drop(second)
	a.drop(later)
	if len(a.at) != 0 || c.HasWaiters() {
		t.Errorf("%d times are left", len(a.at))
	}
}
