package forecast

import "math"

// maxLeadHours is how far ahead is learned. An hour that is further ahead is predicted with the
// weights of the last one.
const maxLeadHours = 60

// leadBuckets is the number of buckets of leads. The leads of a bucket share their weights.
const leadBuckets = 11

// bucketStarts returns the first lead of each bucket, and the one after the last.
func bucketStarts() [leadBuckets + 1]int {
	return [...]int{1, 2, 3, 4, 6, 9, 13, 19, 25, 37, 49, maxLeadHours + 1}
}

// forgettingHours is the time after which a sample counts 1/e of what it counted at first.
const forgettingHours = 45 * day

// rampHours is the time over which the learned weights replace the rule of thumb.
const rampHours = 20 * day

// Pulls are counted in samples whose features are as large as the spread of the intensity, per lead
// of a bucket: pullToPrior pulls the weights of a bucket towards the prior. pullToCommon pulls the
// weights of an hour of the day towards the weights of the bucket.
const (
	pullToPrior  = 36
	pullToCommon = 1.5
)

// outlierSpreads is the size of a change or a feature, in spreads, from which on the data are wrong
// and nothing can be learned. [past.credible] bounds intensities in the same way.
const outlierSpreads = 10

// A learner weighs the features of a feature set, by online ridge regression with forgetting. It
// has weights for each bucket of leads and each hour of the day of the target. These are pulled
// towards the common weights of the bucket, and the common weights towards a prior.
type learner struct {
	features     featureSet
	sums         [leadBuckets][day]moments
	weights      [leadBuckets][day]vector
	sampleScale  float64 // new samples weigh more, instead of old ones less
	learnedHours int     // how many hours have been learned
	// past is the learner that sees the past alone; nil for that learner itself.
	past *learner
}

// moments are weighted sums over samples (x, y).
type moments struct {
	xx [featureCount * (featureCount + 1) / 2]float64 // the sum of x·xᵀ: its lower triangle by rows
	xy vector
}

func newLearner(v featureSet) *learner {
	l := &learner{features: v, sampleScale: 1}
	l.fit()
	return l
}

// closeHour takes note of an hour that is over.
func (l *learner) closeHour(p *past, h hour) {
	l.learn(p, h)
	l.features.closeHour(h)
}

// learn takes the errors that predictions for the hour u would have had, seen from the 60 hours
// before u.
func (l *learner) learn(p *past, u hour) {
	actual, learned := p.actual.at(u), false
	for lead := 1; lead <= maxLeadHours; lead++ {
		v := u.plus(-lead)
		change, spread := actual-p.actual.at(v), p.spread.at(v)
		if !(math.Abs(change) <= outlierSpreads*spread) {
			continue
		}
		if x, ok := l.features.at(v, u); ok && x.isWithin(outlierSpreads*spread) {
			l.sums[leadBucket(lead)][u.ofDay()].add(&x, change, l.sampleScale/(spread*spread))
			learned = true
		}
	}
	l.sampleScale *= math.Exp(1 / float64(forgettingHours))
	if learned {
		l.learnedHours++
	}
	if u%day == 0 {
		l.fit()
	}
}

func (m *moments) add(x *vector, y, weight float64) {
	k := 0
	for i, xi := range x {
		xi *= weight
		m.xy[i] += xi * y
		for j := range i + 1 {
			m.xx[k] += xi * x[j]
			k++
		}
	}
}

func (m *moments) plus(o *moments) {
	for i, v := range o.xx {
		m.xx[i] += v
	}
	for i, v := range o.xy {
		m.xy[i] += v
	}
}

func (m *moments) times(factor float64) {
	for i := range m.xx {
		m.xx[i] *= factor
	}
	for i := range m.xy {
		m.xy[i] *= factor
	}
}

// fit computes the weights that fit best what has been learned.
func (l *learner) fit() {
	firsts := bucketStarts()
	for k := range leadBuckets {
		n := float64(firsts[k+1] - firsts[k])
		var all moments
		for g := range l.sums[k] {
			l.sums[k][g].times(1 / l.sampleScale)
			all.plus(&l.sums[k][g])
		}
		prior := l.prior(firsts[k], firsts[k+1])
		common := all.ridge(pullToPrior*n, prior)
		for g := range l.sums[k] {
			l.weights[k][g] = l.sums[k][g].ridge(pullToCommon*n, common)
		}
	}
	l.sampleScale = 1
}

func (l *learner) prior(from, to int) vector {
	var mean vector
	for lead := from; lead < to; lead++ {
		for i, w := range l.features.prior(float64(lead)) {
			mean[i] += w / float64(to-from)
		}
	}
	return mean
}

// ridge returns the w that minimises the squared error plus pull·|w - towards|².
func (m *moments) ridge(pull float64, towards vector) vector {
	a, b := m.xx, m.xy
	for i := range featureCount {
		b[i] += pull * towards[i]
		a[i*(i+3)/2] += pull
	}
	return solve(&a, b)
}

// solve returns the x of A·x = b for a symmetric positive definite A, by Cholesky's decomposition.
func solve(a *[featureCount * (featureCount + 1) / 2]float64, b vector) vector {
	row := func(i int) int { return i * (i + 1) / 2 }
	for i := range featureCount {
		for j := range i + 1 {
			sum := a[row(i)+j]
			for k := range j {
				sum -= a[row(i)+k] * a[row(j)+k]
			}
			if i == j {
				a[row(i)+i] = math.Sqrt(sum)
			} else {
				a[row(i)+j] = sum / a[row(j)+j]
			}
		}
		for k := range i {
			b[i] -= a[row(i)+k] * b[k]
		}
		b[i] /= a[row(i)+i]
	}
	for i := featureCount - 1; i >= 0; i-- {
		for k := i + 1; k < featureCount; k++ {
			b[i] -= a[row(k)+i] * b[k]
		}
		b[i] /= a[row(i)+i]
	}
	return b
}

// change predicts by how much the intensity at u is above the intensity at v. It returns false if
// the feature set does not reach u.
func (l *learner) change(v, u hour) (float64, bool) {
	x, ok := l.features.at(v, u)
	if !ok {
		return 0, false
	}
	sum := 0.0
	for i, w := range l.weights[leadBucket(u.since(v))][u.ofDay()] {
		sum += w * x[i]
	}
	if learned := l.learnedShare(); learned < 1 {
		sum = learned*sum + (1-learned)*l.unlearned(v, u)
	}
	return sum, true
}

// pastShare is how much the past alone counts beside a forecast whose errors are unknown.
const pastShare = 0.5

// unlearned returns the change that is expected before the learner has learned anything: the rule of
// thumb and, as far as the past alone has been learned, what the past alone tells. A provider gives
// the intensities of the last weeks at once, but not the forecasts of these weeks.
func (l *learner) unlearned(v, u hour) float64 {
	rule := l.features.ruleOfThumb(v, u)
	if l.past == nil {
		return rule
	}
	change, ok := l.past.change(v, u)
	if !ok {
		return rule
	}
	share := pastShare * l.past.learnedShare()
	return (1-share)*rule + share*change
}

// learnedShare returns the share of a prediction that is learned, in 0..1. The rest is the rule of
// thumb.
func (l *learner) learnedShare() float64 { return min(1, float64(l.learnedHours)/rampHours) }

// contributions returns the terms whose sum is the predicted change.
func (l *learner) contributions(v, u hour) []Contribution {
	x, _ := l.features.at(v, u)
	var terms []Contribution
	for i, name := range l.features.names() {
		terms = append(terms, Contribution{name, l.learnedShare() * l.weights[leadBucket(u.since(v))][u.ofDay()][i] * x[i]})
	}
	if learned := l.learnedShare(); learned < 1 {
		terms = append(terms, Contribution{"rule of thumb, while learning", (1 - learned) * l.unlearned(v, u)})
	}
	return terms
}

// leadBucket returns the bucket of a lead.
func leadBucket(lead int) int {
	for k, first := range bucketStarts() {
		if lead < first {
			return k - 1
		}
	}
	return leadBuckets - 1
}
