package forecast

import "math"

const (
	// beginnerHours is how long a beginner predicts beside its learner, counted in hours that the learner
	// has learned from. Later the learner is no worse.
	beginnerHours = 12 * day
	// beginnerFadeHours is the part of beginnerHours, at its end, over which the beginner makes way.
	beginnerFadeHours = 4 * day
	// pullOfBeginner pulls the weights of a beginner towards its prior. It is counted as pullToPrior is.
	pullOfBeginner = 200
)

// A beginner weighs a provider's forecast and what the learner beside expects, while the errors of the
// forecast are hardly known. A provider gives the intensities of the last weeks at once, but not the
// forecasts of these weeks. The weights are the same for all hours of the day, so that a few days
// teach something.
type beginner struct {
	sums    [leadBuckets]moments
	weights [leadBuckets]vector
}

func newBeginner() *beginner {
	b := &beginner{}
	for k := range b.sums {
		b.sums[k] = newMoments(forecastFeatureCount + 1)
	}
	b.fit()
	return b
}

// withBeside returns the features of a beginner: those of the forecast, and the change that the learner
// beside expects.
func withBeside(x vector, beside float64) vector {
	for i := forecastFeatureCount; i < len(x); i++ {
		x[i] = 0 // the outlook counts by the learner beside
	}
	x[forecastFeatureCount] = beside
	return x
}

// learn takes a change, and what was known of it some hours before. The weight is how much the sample
// counts.
func (b *beginner) learn(lead int, x vector, beside, change, weight float64) {
	x = withBeside(x, beside)
	b.sums[leadBucket(lead)].add(&x, change, weight)
}

// fit computes the weights that fit best what has been learned.
func (b *beginner) fit() {
	firsts := bucketStarts()
	for k := range leadBuckets {
		pull := float64(pullOfBeginner * (firsts[k+1] - firsts[k]))
		b.weights[k] = b.sums[k].ridge(pull, meanPrior(beginnerPrior, firsts[k], firsts[k+1]))
	}
}

// change predicts the change over a lead.
func (b *beginner) change(lead int, x vector, beside float64) float64 {
	sum := 0.0
	for i, v := range withBeside(x, beside) {
		sum += b.weights[leadBucket(lead)][i] * v
	}
	return sum
}

// beginnerPrior returns the weights that a beginner starts from, for a lead in hours. The past tells the
// shape of a day better than most forecasts, and the forecast tells better whether the next day as a whole
// is cleaner.
func beginnerPrior(lead float64) vector {
	return vector{
		0: 0.4, 1: 0.5 * fade(int(math.Round(lead)), fadeHours), 3: 0.5, 5: 0.1, 6: 0.1, forecastFeatureCount: 0.5,
	}
}

// beginnerShare returns how much a beginner counts, in 0..1, beside a learner that has learned from some hours.
func beginnerShare(learnedHours int) float64 {
	return min(1, max(0, float64(beginnerHours-learnedHours)/beginnerFadeHours))
}
