"""What the two notes on top-k orthogonality say of each of their runs, in their own words."""

from __future__ import annotations

TEXTS = {
    "003-1": "Run 1: Initial Top-k Orthogonality Implementation. [Previous content unchanged...]",
    "003-2": "Run 2: Adaptive Tau Implementation. [Previous content unchanged...]",
    "003-3": (
        "Run 3: Dynamic Top-k Fraction Scheduling. Orthogonality penalty weight: 0.1. Initial top-k fraction:"
        " 0.001 (0.1% of feature pairs). Final top-k fraction: 0.005 (0.5% of feature pairs). Linear increase"
        " over 10,000 training steps. Threshold τ: Computed adaptively as mean + std of correlations. L2 "
        "normalization on decoder weights."
    ),
    "003-4": (
        "Run 4: Exponential Top-k Fraction Scheduling. Orthogonality penalty weight: 0.1. Initial top-k "
        "fraction: 0.001 (0.1% of feature pairs). Final top-k fraction: 0.005 (0.5% of feature pairs). "
        "Exponential increase schedule: fraction = initial + (final - initial) * (1 - e^(-5x)). Threshold τ: "
        "Computed adaptively as mean + std of correlations. L2 normalization on decoder weights."
    ),
    "004-1": (
        "Run 1: Fixed τ with Top-k Orthogonality. Selected top 0.1% of |f_i * f_j| pairs per batch. Applied "
        "orthogonality loss with fixed τ=0.1 to selected pairs. Maintained L2 normalization on decoder "
        "weights. Used standard L1 sparsity penalty (0.04)."
    ),
    "004-2": (
        "Run 2: Adaptive τ with Top-k Orthogonality. Initialized τ=0.1 with momentum-based updates. "
        "Dynamically adjusted τ based on mean correlation of top pairs. Maintained bounds τ ∈ [0.01, 0.5] to "
        "prevent instability. Used momentum coefficient 0.9 for smooth updates. Target correlation set to 0.1"
        " as reference point. Kept same top-k selection (0.1% of pairs) and L2 normalization."
    ),
    "004-3": (
        "Run 3: Dynamic Pair Selection with Correlation Statistics. Computed mean and standard deviation of "
        "feature correlations. Set correlation threshold as mean + 2*std to target significant correlations. "
        "Used momentum-based updates (0.9) for smooth threshold adaptation. Enforced minimum pairs constraint"
        " (10 pairs) for stability. Maintained adaptive τ mechanism from Run 2. Kept L2 normalization."
    ),
    "004-4": (
        "Run 4: Correlation-Based Neuron Pruning. Added prune_threshold (0.8) to identify highly correlated "
        "neurons. Implemented prune_window (100 steps) for periodic pruning checks. Computed full correlation"
        " matrix for pruning decisions. Reinitialized pruned neurons with random orthogonal directions. "
        "Scaled new directions based on average norm of surviving neurons. Reset optimizer state for pruned "
        "neurons. Maintained all mechanisms from Run 3."
    ),
    "004-5": (
        "Run 5: Momentum-Based Feature Importance. Added feature_importance tracking with momentum (0.99). "
        "Importance scores updated based on feature activity. Adjusted pruning thresholds based on feature "
        "importance percentiles. Protected high-importance features from pruning. Reset importance scores for"
        " pruned neurons. Maintained all mechanisms from Run 4."
    ),
    "004-6": (
        "Run 6: Adaptive Sparsity Penalty. Added sparsity_momentum parameter (0.99) for tracking feature "
        "activation sparsity. Implemented target_sparsity parameter (0.1) as desired sparsity level. Created "
        "sparsity_history tensor to track per-feature sparsity. Dynamically adjusted L1 penalty based on "
        "sparsity error. Bounded L1 penalty adjustments (0.01 to 0.2) for stability. Maintained all "
        "mechanisms from Run 5."
    ),
    "004-7": (
        "Run 7: Local Competition Through Inhibition. Added inhibition_radius parameter (32) to define local "
        "competition neighborhoods. Implemented inhibition_strength parameter (0.3) to control suppression "
        "intensity. Added competition_threshold (0.5) to determine when inhibition occurs. Modified encode() "
        "method to apply local inhibition after initial activation. Maintained all mechanisms from Run 6."
    ),
    "004-8": (
        "Run 8: Adaptive Feature Neighborhoods. Added base_radius parameter (32) as initial neighborhood "
        "size. Implemented neighborhood_momentum (0.99) for stable relationship tracking. Created "
        "neighborhood_history tensor to track feature co-activations. Modified encode() to use adaptive "
        "neighborhoods for competition. Dynamically adjusted neighborhood sizes based on co-activation "
        "strength. Maintained all mechanisms from Run 7."
    ),
    "004-9": (
        "Run 9: Feature Reallocation Mechanism. Added activity_threshold parameter (0.01) to identify "
        "inactive features. Implemented reallocation_window (1000 steps) for periodic checks. Created "
        "reallocation_history tensor to track feature activity. Used reallocation_momentum (0.99) for stable "
        "activity tracking. Reallocated inactive features using random scaled directions. Reset relevant "
        "tracking metrics and optimizer states. Maintained mechanisms from Run 8."
    ),
}
