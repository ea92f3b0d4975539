package ceiling

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
)

// TestTheOwnersPauseStays sets ceilings of 10 and 0 on objects whose owner has a say in whether
// they are scaled.
func TestTheOwnersPauseStays(t *testing.T) {
	now := clock(t, "2026-11-22T12:00:00Z")
	atZero := func(loans string, annotations map[string]any) map[string]any {
		all := map[string]any{v1alpha1.CeilingByAnnotation: byPolicy, v1alpha1.CeilingAnnotation: "0", v1alpha1.OriginalMaxReplicaCountAnnotation: "40", v1alpha1.AppliedMaxReplicaCountAnnotation: "40", v1alpha1.ReasonAnnotation: "because; then"}
		if loans != "" {
			all[v1alpha1.CeilingPausedWithAnnotation] = loans
		}
		for key, value := range annotations {
			all[key] = value
		}
		return all
	}
	type keda map[string]string
	tests := []struct {
		name        string
		kind        kind
		annotations map[string]any
		limit       int32
		want        keda // KEDA's annotations
		loans       string
		ceiling     string // that is noted
		max         int32
		undone      bool
	}{
		// before there is a ceiling
		{"a number of replicas", scaledObject, map[string]any{pausedReplicas: "3"}, 0, keda{pausedReplicas: "3"}, "", "0", 40, false},
		{"what is no number", scaledObject, map[string]any{pausedReplicas: "three"}, 0, keda{pausedReplicas: "three"}, "", "0", 40, false},
		{"True", scaledObject, map[string]any{paused: "True"}, 0, keda{paused: "True"}, "", "0", 40, false},
		{"what is no boolean", scaledObject, map[string]any{paused: "yes"}, 0, keda{paused: "yes"}, "", "0", 40, false},
		{"False does not pause", scaledObject, map[string]any{paused: "False"}, 0, keda{paused: "False", pausedReplicas: "0"}, pausedReplicas, "0", 40, false},
		{"nor does 0", scaledObject, map[string]any{paused: "0"}, 0, keda{paused: "0", pausedReplicas: "0"}, pausedReplicas, "0", 40, false},
		{"nor f", scaledObject, map[string]any{paused: "f"}, 0, keda{paused: "f", pausedReplicas: "0"}, pausedReplicas, "0", 40, false},
		{"a ScaledJob that says so is paused, and this is remembered", scaledJob, map[string]any{paused: "f"}, 0, keda{paused: "true"}, paused + "=f", "0", 40, false},
		{"a ScaledJob with what only ScaledObjects have", scaledJob, map[string]any{pausedReplicas: "3"}, 0, keda{pausedReplicas: "3", paused: "true"}, paused, "0", 40, false},
		// while it is 0
		{"another number over ours", scaledObject, atZero(bothPauses, map[string]any{pausedReplicas: "3", paused: "true"}), 0, keda{pausedReplicas: "3"}, "", "0", 40, false},
		{"and when the grid is clean", scaledObject, atZero(bothPauses, map[string]any{pausedReplicas: "3", paused: "true"}), 10, keda{pausedReplicas: "3"}, "", "10", 10, false},
		{"and later", scaledObject, atZero("", map[string]any{pausedReplicas: "3"}), 0, keda{pausedReplicas: "3"}, "", "0", 40, false},
		{"false over our true", scaledObject, atZero(bothPauses, map[string]any{pausedReplicas: "0", paused: "false"}), 0, keda{paused: "false"}, "", "0", 40, false},
		{"and later, too", scaledObject, atZero("", map[string]any{paused: "false"}), 0, keda{paused: "false"}, "", "0", 40, false},
		{"false over our true on a ScaledJob", scaledJob, atZero(paused, map[string]any{paused: "false"}), 0, keda{paused: "false"}, "", "0", 40, false},
		{"what was remembered comes back", scaledJob, atZero(paused+"=f", map[string]any{paused: "true"}), 10, keda{paused: "f"}, "", "10", 10, false},
		{"ours goes", scaledObject, atZero(bothPauses, map[string]any{pausedReplicas: "0", paused: "true"}), 10, keda{}, "", "10", 10, false},
		{"ours of an earlier version goes", scaledObject, atZero(pausedReplicas, map[string]any{pausedReplicas: "0"}), 10, keda{}, "", "10", 10, false},
		{"ours that was taken away is put back", scaledObject, atZero(bothPauses, map[string]any{paused: "true"}), 0, keda{pausedReplicas: "0", paused: "true"}, bothPauses, "0", 40, true},
		{"the owner's pause ends", scaledObject, atZero("", nil), 0, keda{pausedReplicas: "0", paused: "true"}, bothPauses, "0", 40, false},
		// one direction is closed
		{"what must not scale in is not paused", scaledObject, map[string]any{pausedScaleIn: "true"}, 0, keda{pausedScaleIn: "true"}, "", "", 40, false},
		{"nor what must not scale out, and could not come back", scaledObject, map[string]any{pausedScaleOut: "T"}, 0, keda{pausedScaleOut: "T"}, "", "", 40, false},
		{"nor is its ceiling lowered", scaledObject, map[string]any{pausedScaleIn: "yes"}, 10, keda{pausedScaleIn: "yes"}, "", "", 40, false},
		{"but if that is off", scaledObject, map[string]any{pausedScaleIn: "F"}, 10, keda{pausedScaleIn: "F"}, "", "10", 10, false},
		{"it may rise", scaledObject, map[string]any{pausedScaleIn: "true"}, 50, keda{pausedScaleIn: "true"}, "", "50", 50, false},
		{"our pause may end", scaledObject, atZero(bothPauses, map[string]any{pausedReplicas: "0", paused: "true", pausedScaleOut: "true"}), 10, keda{pausedScaleOut: "true"}, "", "10", 10, false},
		{"the owner's pause ends in one direction", scaledObject, atZero("", map[string]any{pausedScaleIn: "true"}), 0, keda{pausedScaleIn: "true"}, "", "0", 40, false},
		{"what has to be awake is not paused", scaledObject, map[string]any{forceActivation: "true"}, 0, keda{forceActivation: "true"}, "", "1", 1, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			before := scaled(map[string]any{"maxReplicaCount": int64(40)}, tt.annotations)
			change := before.target(tt.kind).settle(byPolicy, ceilingOf(tt.limit), pace{}, now)
			after := before.after(t, change)
			got := keda{}
			for key, value := range after.annotations() {
				if len(key) > 10 && key[:10] == "autoscalin" {
					got[key] = value
				}
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
			notes := after.annotations()
			if notes[v1alpha1.CeilingPausedWithAnnotation] != tt.loans || notes[v1alpha1.CeilingAnnotation] != tt.ceiling {
				t.Errorf("got %q as ours, and the ceiling %q", notes[v1alpha1.CeilingPausedWithAnnotation], notes[v1alpha1.CeilingAnnotation])
			}
			if diff := cmp.Diff(&tt.max, after.max()); diff != "" {
				t.Error("maxReplicaCount: ", diff)
			}
			if change.standing.IsUndone != tt.undone {
				t.Errorf("undone: %v", change.standing.IsUndone)
			}
			if again := after.target(tt.kind).settle(byPolicy, ceilingOf(tt.limit), pace{}, now); !again.IsEmpty() {
				t.Errorf("not settled: %+v", again)
			}
		})
	}
}

func TestAnOwnersPauseIsToldOf(t *testing.T) {
	now := clock(t, "2026-11-22T12:00:00Z")
	for key, want := range map[string]string{
		pausedReplicas: "because: its owner has set autoscaling.keda.sh/paused-replicas, which stays; now",
		pausedScaleIn:  "because: the ceiling is not lowered while its owner has set autoscaling.keda.sh/paused-scale-in; now",
	} {
		before := scaled(map[string]any{"maxReplicaCount": int64(40)}, map[string]any{key: "1"})
		after := before.after(t, before.target(scaledObject).settle(byPolicy, ceilingOf(0), pace{}, now))
		if got := after.annotations()[v1alpha1.ReasonAnnotation]; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
