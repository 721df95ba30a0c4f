"""Slow twins of the models, written from the papers: numpy, two loops, one row.

Nothing here is shared between two positions: every hidden layer is computed from its
whole prefix, where the package keeps a running activation or multiplies by masks.

Letters are the papers'. D columns; column d owns n_inputs[d] entries of the input
vector u and n_params[d] entries of the output; H hidden units; W (H, U), c (H,),
V (P, H), b (P,). `ordering[t]` is the column visited at position t.

Larochelle & Murray (2011), The neural autoregressive distribution estimator.
Uria, Murray & Larochelle (2013), RNADE.
Germain, Gregor, Murray & Larochelle (2015), MADE.
Uria, Côté, Gregor, Murray & Larochelle (2016), Neural autoregressive distribution
estimation.
Supplementary material for RNN-RNADE, a tractable model for high-dimensional real
valued sequences.
Equations carry the numbers that the package's docstrings use for the same lines.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np

Array = np.ndarray
Activation = Callable[[Array], Array]


def sigmoid(a: Array) -> Array:
    return 1.0 / (1.0 + np.exp(-a))


def relu(a: Array) -> Array:
    return np.maximum(a, 0.0)


ACTIVATIONS: dict[str, Activation] = {
    "logistic": sigmoid,
    "relu": relu,
    "tanh": np.tanh,
}


def softmax(z: Array) -> Array:
    e = np.exp(z - z.max())
    return e / e.sum()


def log_mean_exp(values: Sequence[float]) -> float:
    """log (1/E) Σ_e exp(values_e)."""
    largest = max(values)
    if largest == -math.inf:
        return -math.inf
    total = sum(math.exp(v - largest) for v in values)
    return largest + math.log(total) - math.log(len(values))


def units_of(widths: Sequence[int]) -> list[list[int]]:
    """The flat units of every column."""
    units, first = [], 0
    for width in widths:
        units.append(list(range(first, first + width)))
        first += width
    return units


# NADE, Deep NADE, RNADE: the networks -------------------------------------------------


def nade_params(
    u: Array,
    ordering: Sequence[int],
    W: Array,
    c: Array,
    V: Array,
    b: Array,
    *,
    n_inputs: Sequence[int],
    n_params: Sequence[int],
    g: Activation = sigmoid,
    rho: Array | None = None,
    deeper: Sequence[tuple[Array, Array]] = (),
    context: Array | None = None,
    C: Array | None = None,
    C_hidden: Array | None = None,
) -> list[Array]:
    """Parameters of every column.

    a_d = c + Σ_{j<d} W_j u_j                      (2013, eq. 4, summed up)
    h_d = g(ρ_d a_d)                               (2013, eq. 3)
    h_d ← g(W^l h_d + c^l),  l = 2, 3, …           (2016, section 6: Deep NADE)
    params_d = b_d + V_d h_d                       (2011, eq. 3)

    A context adds C context to b and, where it goes there, C_hidden context to c.
    """
    if context is not None:
        b = b + C @ context
        if C_hidden is not None:
            c = c + C_hidden @ context
    inputs, outputs = units_of(n_inputs), units_of(n_params)
    params: list[Array] = [np.empty(0)] * len(ordering)
    for t, d in enumerate(ordering):
        a = c.copy()
        for j in ordering[:t]:
            for i in inputs[j]:
                a = a + W[:, i] * u[i]
        h = g(a if rho is None else rho[t] * a)
        for W_l, c_l in deeper:
            h = g(W_l @ h + c_l)
        params[d] = b[outputs[d]] + V[outputs[d]] @ h
    return params


def nade_log_mass(
    x: Array, ordering: Sequence[int], W: Array, c: Array, V: Array, b: Array
) -> float:
    """log p(x) of a binary row under NADE (2011, section 3).

    log p(x) = Σ_d x_d log p_d + (1 - x_d) log(1 - p_d),  p_d = sigm(b_d + V_d h_d)
    """
    log_p = 0.0
    for t, d in enumerate(ordering):
        a = c.copy()
        for j in ordering[:t]:
            a = a + W[:, j] * x[j]
        p = sigmoid(b[d] + V[d] @ sigmoid(a))
        log_p += x[d] * math.log(p) + (1.0 - x[d]) * math.log(1.0 - p)
    return log_p


def tied_nade_log_mass(
    x: Array, ordering: Sequence[int], W: Array, c: Array, b: Array
) -> float:
    """NADE with V = Wᵀ (2011, section 3.1)."""
    return nade_log_mass(x, ordering, W, c, W.T, b)


# MADE ---------------------------------------------------------------------------------


def made_degrees(
    ordering: Sequence[int],
    widths: Sequence[int],
    hidden_layer_sizes: Sequence[int],
    first: int = 1,
) -> tuple[list[int], list[list[int]]]:
    """Degrees of the input (or output) units, and m(k) of every hidden layer.

    A unit of the column visited at position t has degree t + 1. Hidden degrees run
    evenly over 1 … D-1, in rising order (the paper draws them from these), or from
    `first` on.
    """
    D = len(ordering)
    of_units = []
    for d in range(D):
        position = list(ordering).index(d)
        of_units += [position + 1] * widths[d]
    hidden = [
        [first + (k * max(D - first, 1)) // size for k in range(size)]
        for size in hidden_layer_sizes
    ]
    return of_units, hidden


def made_hidden_mask(m: Sequence[int], m_before: Sequence[int]) -> Array:
    """M^W_{k,j} = 1 if m(k) ≥ m(j), else 0 (2015, eq. 8)."""
    mask = np.zeros((len(m), len(m_before)))
    for k in range(len(m)):
        for j in range(len(m_before)):
            if m[k] >= m_before[j]:
                mask[k, j] = 1.0
    return mask


def made_output_mask(degrees: Sequence[int], m_before: Sequence[int]) -> Array:
    """M^V_{d,k} = 1 if d > m(k), else 0 (2015, eq. 9)."""
    mask = np.zeros((len(degrees), len(m_before)))
    for d in range(len(degrees)):
        for k in range(len(m_before)):
            if degrees[d] > m_before[k]:
                mask[d, k] = 1.0
    return mask


def _with_context(
    layers: Sequence[tuple[Array, Array]],
    c: Array,
    context: Array | None,
    C: Array | None,
    C_hidden: Array | None,
) -> tuple[Sequence[tuple[Array, Array]], Array]:
    """Layers and c with the context's share in b¹, where it goes there, and in c."""
    if context is not None:
        c = c + C @ context
        if C_hidden is not None:
            (W_1, b_1), *others = layers
            layers = [(W_1, b_1 + C_hidden @ context), *others]
    return layers, c


def direct_units(n_inputs: Sequence[int], n_direct: Sequence[int]) -> list[int]:
    """Flat indices of the first n_direct[d] inputs of every column."""
    columns = zip(units_of(n_inputs), n_direct, strict=True)
    return [unit for units, n in columns for unit in units[:n]]


def made_params(
    u: Array,
    ordering: Sequence[int],
    layers: Sequence[tuple[Array, Array]],
    V: Array | None,
    c: Array,
    A: Array | None,
    *,
    n_inputs: Sequence[int],
    n_params: Sequence[int],
    n_direct: Sequence[int],
    g: Activation = relu,
    context: Array | None = None,
    C: Array | None = None,
    C_hidden: Array | None = None,
    first: int = 1,
) -> list[Array]:
    """Parameters of every column.

    h⁰ = u,  hˡ = g(bˡ + (Wˡ ⊙ M^Wˡ) hˡ⁻¹)         (2015, eq. 7-8)
    params = c + (V ⊙ M^V) hᴸ + (A ⊙ M^A) u_direct   (2015, eq. 9-10)

    u_direct are the first `n_direct` inputs of each column.
    A context adds C context to c and, where it goes there, C_hidden context to b¹.
    Hidden degrees begin with `first`.
    """
    layers, c = _with_context(layers, c, context, C, C_hidden)
    sizes = [W.shape[0] for W, _ in layers]
    m_in, m_hidden = made_degrees(ordering, n_inputs, sizes, first)
    m_out, _ = made_degrees(ordering, n_params, ())
    out = c.copy()
    if A is not None:
        direct = direct_units(n_inputs, n_direct)
        m_direct = [m_in[unit] for unit in direct]
        out = out + (A * made_output_mask(m_out, m_direct)) @ u[direct]
    h, m = u, m_in
    for (W, b), m_next in zip(layers, m_hidden, strict=True):
        h = g(b + (W * made_hidden_mask(m_next, m)) @ h)
        m = m_next
    if V is not None:
        out = out + (V * made_output_mask(m_out, m)) @ h
    return [out[units] for units in units_of(n_params)]


def eonade_params(
    u: Array,
    ordering: Sequence[int],
    layers: Sequence[tuple[Array, Array]],
    V: Array | None,
    c: Array,
    A: Array | None,
    *,
    n_inputs: Sequence[int],
    n_params: Sequence[int],
    n_direct: Sequence[int],
    g: Activation = relu,
    context: Array | None = None,
    C: Array | None = None,
    C_hidden: Array | None = None,
) -> list[Array]:
    """Parameters of every column, each by a pass that sees the columns before it.

    h⁰ = [u ⊙ v, v],  hˡ = g(bˡ + Wˡ hˡ⁻¹),  params = c + V hᴸ + A [u_direct ⊙ v, v]

    with v_d = 1 for the columns d before it (2014, section 3) and u_direct the first
    `n_direct` inputs of each column. A context adds
    C context to c and, where it goes there, C_hidden context to b¹.
    """
    layers, c = _with_context(layers, c, context, C, C_hidden)
    inputs, outputs = units_of(n_inputs), units_of(n_params)
    params = {}
    for t, d in enumerate(ordering):
        seen, v = np.zeros(len(u)), np.zeros(len(n_inputs))
        for earlier in ordering[:t]:
            v[earlier] = 1.0
            for unit in inputs[earlier]:
                seen[unit] = u[unit]
        h = np.concatenate([seen, v])
        for W, b in layers:
            h = g(b + W @ h)
        out = c.copy()
        if V is not None:
            out = out + V @ h
        if A is not None:
            direct = direct_units(n_inputs, n_direct)
            out = out + A @ np.concatenate([seen[direct], v])
        params[d] = out[outputs[d]]
    return [params[d] for d in range(len(n_params))]


def fvsbn_log_mass(x: Array, ordering: Sequence[int], alpha: Array, c: Array) -> float:
    """log p(x) of a binary row under the fully visible sigmoid belief network.

    p(x_i = 1 | x_<i) = σ(α_0^i + Σ_{j<i} α_j^i x_j)     (lecture notes, section 6.1)

    with α_0^i = c[i], α_j^i = alpha[i, j].
    """
    log_p = 0.0
    for t, i in enumerate(ordering):
        logit = c[i]
        for j in ordering[:t]:
            logit += alpha[i, j] * x[j]
        p = float(sigmoid(logit))
        log_p += math.log(p) if x[i] == 1.0 else math.log(1.0 - p)
    return log_p


def softmax_belief_log_mass(
    x: Array, ordering: Sequence[int], P: Array, c: Array, n_categories: int
) -> float:
    """log p(x) under the fully visible softmax belief network (lecture, definition 2).

    w_t ~ Categorical(softmax(c_t + Σ_{s<t} P_{ts} onehot(w_s)))
    """
    K, log_p = n_categories, 0.0
    for t, d in enumerate(ordering):
        logits = c[d * K : (d + 1) * K].copy()
        for j in ordering[:t]:
            logits += P[d * K : (d + 1) * K, j * K + int(x[j])]
        log_p += math.log(softmax(logits)[int(x[d])])
    return log_p


# Conditionals -------------------------------------------------------------------------


def one_hot(code: float, n_categories: int) -> Array:
    """A category not seen in training, code K, is all zeros."""
    return np.array([1.0 if code == k else 0.0 for k in range(n_categories)])


def compress(x: float, far: float = 5.0) -> float:
    """What a network sees of a real value: itself up to `far`, its logarithm beyond."""
    if abs(x) <= far:
        return x
    return math.copysign(far + math.log1p(abs(x) - far), x)


def waves(x: float, n_frequencies: int) -> list[float]:
    """sin(2ᵏ x) / 2ᵏ for k = 0 … n_frequencies - 1, then cos(2ᵏ x) / 2ᵏ."""
    return [
        wave(2**k * x) / 2**k
        for wave in (math.sin, math.cos)
        for k in range(n_frequencies)
    ]


def bernoulli_log_mass(logit: float, x: float) -> float:
    p = 1.0 / (1.0 + math.exp(-logit))
    return math.log(p) if x == 1.0 else math.log(1.0 - p)


def categorical_log_mass(logits: Array, code: float, unseen: float = 0.0) -> float:
    """p(k) = (1 - ε) softmax_k for the K seen categories, ε for one more."""
    if code == len(logits):
        return math.log(unseen)
    return math.log((1.0 - unseen) * softmax(logits)[int(code)])


def gaussian(x: float, mu: float, sigma: float) -> float:
    z = (x - mu) / sigma
    return math.exp(-0.5 * z * z) / (math.sqrt(2.0 * math.pi) * sigma)


def laplace(x: float, mu: float, sigma: float) -> float:
    return math.exp(-abs(x - mu) / sigma) / (2.0 * sigma)


def logistic(x: float, mu: float, sigma: float) -> float:
    e = math.exp(-abs(x - mu) / sigma)
    return e / (sigma * (1.0 + e) ** 2)


KERNELS = {"gaussian": gaussian, "laplace": laplace, "logistic": logistic}


def mixture_log_density(
    x: float,
    z: Array,
    kernel: Callable[[float, float, float], float],
    *,
    floor: float = 0.0,
    background: float = 0.0,
) -> float:
    """log Σ_k α_k f(x; μ_k, σ_k), with z = (z^α, z^μ, z^σ), K of each.

        α = softmax(z^α)                                (2013, eq. 5)
        μ = z^μ                                         (2013, eq. 6)
        σ = exp(z^σ) + floor                            (2013, eq. 7; floor = 0 there)
        p(x) = Σ_k α_k f(x; μ_k, σ_k)                   (2013, eq. 8)

    `background` is the mass of a standard Cauchy density below it, none in the paper.
    """
    K = len(z) // 3
    alpha, p = softmax(z[:K]), 0.0
    for k in range(K):
        p += alpha[k] * kernel(x, z[K + k], math.exp(z[2 * K + k]) + floor)
    p = (1.0 - background) * p + background / (math.pi * (1.0 + x * x))
    return math.log(p)


def gaussian_given(
    d: int, seen: Sequence[int], x: Array, mean: Array, S: Array, noise: float = 1e-6
) -> tuple[float, float]:
    """Mean and spread of x_d given those seen, with noise of this share of variance."""
    if not seen:
        return mean[d], np.sqrt(S[d, d])
    S_seen = S[np.ix_(seen, seen)] + noise * np.diag(S[seen, seen])
    gain = np.linalg.solve(S_seen, S[seen, d])
    return mean[d] + gain @ (x[seen] - mean[seen]), np.sqrt(S[d, d] - gain @ S[seen, d])


def gaussians_given(
    d: int,
    seen: Sequence[int],
    x: Array,
    weights: Array,
    means: Array,
    S: Array,
    noise: float = 1e-6,
) -> tuple[Array, Array, Array]:
    """Log-weights, means and spreads of x_d given those seen, under J Gaussians."""
    log_w, m, s = np.log(weights), np.empty(len(S)), np.empty(len(S))
    for j in range(len(S)):
        m[j], s[j] = gaussian_given(d, seen, x, means[j], S[j], noise)
        if seen:
            S_seen = S[j][np.ix_(seen, seen)] + noise * np.diag(S[j][seen, seen])
            off = x[seen] - means[j, seen]
            log_w[j] -= 0.5 * off @ np.linalg.solve(S_seen, off)
            log_w[j] -= 0.5 * np.linalg.slogdet(2 * np.pi * S_seen)[1]
    return log_w - np.logaddexp.reduce(log_w), m, s


def predicted_mixture(
    params: Array,
    alone: tuple[float, float],
    prediction: tuple[Array, Array, Array],
    share: Array,
    logits: Array,
) -> Array:
    """Parameters of components of which the last are Gaussians, as they are corrected.

    The others went from mean and spread `alone` to those of the first, in part.
    """
    (mean, spread), (log_w, m, s) = alone, prediction
    to_mean, to_spread = m[0], s[0]
    J = len(m)
    K = len(params) // 3
    out = np.array(params)
    for k in range(K - J):
        to = to_mean + (params[K + k] - mean) * to_spread / spread
        out[K + k] += share[k] * (to - params[K + k])
        out[2 * K + k] += share[k] * np.log(to_spread / spread)
    for j in range(J):
        k = K - J + j
        out[k] += logits[j] + log_w[j]
        out[K + k] = m[j] + s[j] * params[K + k]
        out[2 * K + k] += np.log(s[j])
    return out


def ensemble_log_density(members: Sequence[float]) -> float:
    """The average of the members' densities, not of their logarithms."""
    return log_mean_exp(members)


# RNADE --------------------------------------------------------------------------------


def rnade_log_density(
    x: Array,
    W: Array,
    c: Array,
    rho: Array,
    V: tuple[Array, Array, Array],
    b: tuple[Array, Array, Array],
    *,
    g: Activation = sigmoid,
    kernel: Callable[[float, float, float], float] = gaussian,
) -> float:
    """log p(x) of a real row, columns in natural order (2013, eq. 3-8).

    V = (V^α, V^μ, V^σ), each (D, H, K), and b likewise, each (D, K): V_d is H × K, as
    the supplement's V_dᵀ h needs.
    """
    log_p = 0.0
    for d in range(len(x)):
        a = c.copy()
        for j in range(d):
            a = a + x[j] * W[:, j]
        h = g(rho[d] * a)
        z = np.concatenate(
            [V_p[d].T @ h + b_p[d] for V_p, b_p in zip(V, b, strict=True)]
        )
        log_p += mixture_log_density(x[d], z, kernel)
    return log_p


def rnade_gradients(
    x: Array,
    W: Array,
    c: Array,
    rho: Array,
    V: tuple[Array, Array, Array],
    b: tuple[Array, Array, Array],
) -> tuple[float, dict[str, Array]]:
    """log p(x) and its gradients by Algorithm 1 of the RNN-RNADE supplement, corrected.

    Shapes as in `rnade_log_density`; sigmoid hidden units, Gaussian components. ∂ is
    the gradient of log p(x), to go up; its negative is the gradient of the loss.

    Errata of the algorithm as printed, in the order of its lines. "Wrong" changes the
    result; "notation" is what the letters cannot mean.

    1.  Wrong: the prefix includes x_d. The first loop leaves a = c + Σ_{j≤D} x_j W_j,
        and a ← a - x_d W_d comes last in the second, so h_d is formed from
        a_{d+1} = c + Σ_{j≤d} x_j W_j. It must be a_d: subtract x_d W_d first, also at
        d = 1, where it leaves a = c. (As printed x_d is predicted from itself, and the
        "density" does not integrate to one.)
    2.  Wrong: ∂a is used in ∂a ← ∂a + … before it is set. It starts at 0.
    3.  Wrong: the sign in φ. The quadratic term is -½ (μ - x_d)² / σ².
    4.  Wrong: φ is a log-density, but π ← α φ / Σ_j α_j φ_j uses it as a density:
        exp(φ) there.
    5.  Notation: x_d is set in bold in φ; it is the one number x_d.
    6.  Notation: ∂V_d ← ∂z h (three times). V_dᵀ h asks for V_d of H × K, so it is
        the outer product h ∂zᵀ.
    7.  Wrong: ∂z^σ lacks a square: π ((x_d - μ)² / σ² - 1).
    8.  Wrong: ∂h sums z V where it must sum ∂z V (three times); with V_d of H × K the
        product is V_d ∂z.
    9.  Notation: the line ∂φ = ∂h σ(ψ)(1 - σ(ψ)) defines ∂ψ; φ is the component's
        log-density, and the next line uses ∂ψ.
    10. Right only with 1.: ∂ρ_d = Σ_j ∂ψ_j a_j needs the a that h_d was formed from.
    11. Wrong: ∂a ← ∂a + ∂ψ_ρ. By ψ = ρ_d a it is ∂a + ρ_d ∂ψ; ρ slid into the index.
    12. Wrong: ∂W_d ← ∂a x_d comes after ∂a has taken in position d. W_d reaches
        a_{d+1}, a_{d+2}, … only, so it must come before. (As printed it agrees with
        mistake 1: there W_d does reach h_d.)
    13. Notation: σ stands for the sigmoid, for the scales and as an upper index.

    The lines for h, z, α, μ, σ, π (given 4.), ∂z^α, ∂z^μ, ∂b and ∂c hold as printed.
    Algorithm 2 repeats all of these in its lines 113-147.
    """
    D, H = len(x), len(c)
    (V_alpha, V_mu, V_sigma), (b_alpha, b_mu, b_sigma) = V, b
    grad = {
        "W": np.zeros_like(W),
        "c": np.zeros_like(c),
        "rho": np.zeros_like(rho),
        **{
            f"{letter}_{name}": np.zeros_like(value)
            for letter, values in (("V", V), ("b", b))
            for name, value in zip(("alpha", "mu", "sigma"), values, strict=True)
        },
    }
    log_p = 0.0
    a = c.copy()
    for d in range(D):
        a = a + x[d] * W[:, d]
    da = np.zeros(H)  # erratum 2
    for d in reversed(range(D)):
        a = a - x[d] * W[:, d]  # erratum 1
        psi = rho[d] * a
        h = sigmoid(psi)
        z_alpha = V_alpha[d].T @ h + b_alpha[d]
        z_mu = V_mu[d].T @ h + b_mu[d]
        z_sigma = V_sigma[d].T @ h + b_sigma[d]
        alpha = softmax(z_alpha)
        mu = z_mu
        sigma = np.exp(z_sigma)
        phi = (
            -0.5 * (mu - x[d]) ** 2 / sigma**2  # erratum 3
            - np.log(sigma)
            - 0.5 * math.log(2.0 * math.pi)
        )
        weighted = alpha * np.exp(phi)  # erratum 4
        log_p += math.log(weighted.sum())
        pi = weighted / weighted.sum()

        dz_alpha = pi - alpha
        grad["V_alpha"][d] = np.outer(h, dz_alpha)  # erratum 6
        grad["b_alpha"][d] = dz_alpha
        dz_mu = pi * (x[d] - mu) / sigma**2
        grad["V_mu"][d] = np.outer(h, dz_mu)
        grad["b_mu"][d] = dz_mu
        dz_sigma = pi * ((x[d] - mu) ** 2 / sigma**2 - 1.0)  # erratum 7
        grad["V_sigma"][d] = np.outer(h, dz_sigma)
        grad["b_sigma"][d] = dz_sigma

        # erratum 8
        dh = V_alpha[d] @ dz_alpha + V_mu[d] @ dz_mu + V_sigma[d] @ dz_sigma
        dpsi = dh * sigmoid(psi) * (1.0 - sigmoid(psi))  # erratum 9
        grad["rho"][d] = (dpsi * a).sum()
        grad["W"][:, d] = da * x[d]  # erratum 12: before position d joins
        da = da + rho[d] * dpsi  # erratum 11
    grad["c"] = da
    return log_p, grad


# Recurrent networks -------------------------------------------------------------------

# A layer's state is (h,), an LSTM's (h, c); R units. W_in (gates R, U), W_rec (gates R,
# R) and b_h (gates R,) hold the gates one below the other.
LayerState = tuple[Array, ...]
Step = Callable[[Array, LayerState, Array, Array, Array], LayerState]
Layer = tuple[Array, Array, Array, LayerState]  # W_in, W_rec, b_h, the state at 0


def rnn_step(
    u: Array, state: LayerState, W_in: Array, W_rec: Array, b_h: Array
) -> LayerState:
    """h_t = σ(W_in u_t + W_rec h_{t-1} + b_h), as the supplement's gradients imply."""
    (h,) = state
    return (sigmoid(W_in @ u + W_rec @ h + b_h),)


def gru_step(
    u: Array, state: LayerState, W_in: Array, W_rec: Array, b_h: Array
) -> LayerState:
    """Cho et al. (2014), with the reset gate after the product, as cuDNN has it.

    r = σ(W_in^r u + W_rec^r h + b^r),  z = σ(W_in^z u + W_rec^z h + b^z)
    n = tanh(W_in^n u + b^n + r ⊙ (W_rec^n h))        (in the paper: W_rec^n (r ⊙ h))
    h_t = (1 - z) ⊙ n + z ⊙ h_{t-1}
    """
    (h,) = state
    W_r, W_z, W_n = np.split(W_in, 3)
    U_r, U_z, U_n = np.split(W_rec, 3)
    b_r, b_z, b_n = np.split(b_h, 3)
    r = sigmoid(W_r @ u + U_r @ h + b_r)
    z = sigmoid(W_z @ u + U_z @ h + b_z)
    n = np.tanh(W_n @ u + b_n + r * (U_n @ h))
    return ((1.0 - z) * n + z * h,)


def lstm_step(
    u: Array, state: LayerState, W_in: Array, W_rec: Array, b_h: Array
) -> LayerState:
    """Hochreiter & Schmidhuber (1997), with a forget gate, without peepholes.

    i, f, o = σ(W_in u + W_rec h + b_h),  g = tanh(W_in^g u + W_rec^g h + b^g)
    c_t = f ⊙ c_{t-1} + i ⊙ g,  h_t = o ⊙ tanh(c_t)
    """
    h, c = state
    W_i, W_f, W_o, W_g = np.split(W_in, 4)
    U_i, U_f, U_o, U_g = np.split(W_rec, 4)
    b_i, b_f, b_o, b_g = np.split(b_h, 4)
    i = sigmoid(W_i @ u + U_i @ h + b_i)
    f = sigmoid(W_f @ u + U_f @ h + b_f)
    o = sigmoid(W_o @ u + U_o @ h + b_o)
    g = np.tanh(W_g @ u + U_g @ h + b_g)
    c = f * c + i * g
    return o * np.tanh(c), c


STEPS: dict[str, Step] = {"rnn": rnn_step, "gru": gru_step, "lstm": lstm_step}


def contexts(u: Array, layers: Sequence[Layer], step: Step) -> list[Array]:
    """What frame t is given: h_{t-1} of the last layer, for every frame of u (T, U).

    Everything before t is run through anew for each t.
    """
    out = []
    for t in range(len(u)):
        states = [state_0 for _, _, _, state_0 in layers]
        for s in range(t):
            below = u[s]
            for i, (W_in, W_rec, b_h, _) in enumerate(layers):
                states[i] = step(below, states[i], W_in, W_rec, b_h)
                below = states[i][0]
        out.append(states[-1][0])
    return out


def innovations(
    x: Array, real: Sequence[int], A: Array, m: Array, L: Array
) -> tuple[Array, list[float]]:
    """z_t and log det L of every frame: x_t = m + A (x_{t-1}, …, x_{t-p}) + L z_t.

    On the real columns of x (T, D); A, m and L hold one set for frames with 0, 1, …,
    p - 1 and at least p frames before them. Far lags are compressed.
    """
    z, log_det, p, R = x.copy(), [], len(A) - 1, len(real)
    for t in range(len(x)):
        k = min(t, p)
        prediction = m[k].copy()
        for lag in range(1, k + 1):
            for j in range(R):
                seen = compress(x[t - lag, real[j]])
                prediction += A[k][:, (lag - 1) * R + j] * seen
        z[t, real] = np.linalg.solve(L[k], x[t, real] - prediction)
        log_det.append(math.log(np.linalg.det(L[k])))
    return z, log_det


def sequence_log_prob(
    x: Array,
    u: Array,
    layers: Sequence[Layer],
    step: Step,
    frame_log_prob: Callable[[Array, Array], float],
) -> list[float]:
    """log p(x_t | x_<t) = frame_log_prob(x_t, h_{t-1}) of every frame.

    x (T, D) are the values, u (T, U) what the recurrence sees of them.
    """
    given = contexts(u, layers, step)
    return [frame_log_prob(x[t], given[t]) for t in range(len(x))]


# RNN-RNADE ----------------------------------------------------------------------------


def rnn_rnade_gradients(
    x: Array,
    W: Array,
    c: Array,
    rho: Array,
    V: tuple[Array, Array, Array],
    b: tuple[Array, Array, Array],
    W_context: tuple[Array, Array, Array],
    W_in: Array,
    W_rec: Array,
    b_h: Array,
    h_0: Array,
) -> tuple[float, dict[str, Array]]:
    """log p(x_1 … x_T) and its gradients by Algorithm 2 of the supplement, corrected.

    x (T, D). Sigmoid RNN of R units; W_context = (W_α, W_μ, W_σ), each (D K, R), make
    a frame's biases. The other shapes as in `rnade_gradients`, which is Algorithm 1
    and lines 113-147 of this one.

    Errata of the algorithm as printed; 1-13, of Algorithm 1, hold for lines 113-147
    too. "Wrong" changes the result, "missing" is a step or a result that is not there,
    "notation" is what the letters cannot mean.

    14. Missing: the pass forward. From h^0, h^t = σ(W_in x_t + W_rec h^{t-1} + b_h) for
        t = 1 … T, and in frame t b_t = b + W h^{t-1}, for α, μ, σ.
    15. Notation: h_t and ∂h of lines 119-138 are RNADE's hidden layer at column d, h^t
        and ∂h^t of lines 148-158 the state of the RNN. x_d without a t is x_d^t (lines
        115, 131, 134, 141); ∂b_t (lines 148-154) is ∂b_{d(t)} of all D columns, one
        below the other.
    16. Wrong: ∂a is not set back to 0 for a new frame. Set once before line 112 (see
        erratum 2) it takes the columns of frame t+1 into frame t.
    17. Wrong: ∂V_d, ∂W_d and ∂c (lines 129, 132, 135, 141, 143) are overwritten in
        every frame, so that frame 1, the last visited, alone remains. They are sums
        over t, as lines 148-150 and 156-158 are. ∂ρ_d(t) (line 139) is kept by frame,
        but its sum ∂ρ_d is missing.
    18. Missing: the biases b = (b^α, b^μ, b^σ), of which ∂b_{d(t)} is frame t's share
        (lines 130, 133, 136): ∂b = Σ_t ∂b_t.
    19. Wrong: line 152. There is no b_{T+1}: nothing is predicted from h^T and it
        makes no further state, so ∂h^T = 0. (Lines 151-155 are right for ∂h^{t-1}, with
        t - 1 for each t in them but that of the `if`, and after lines 156-158.)
    20. Wrong: line 154 goes back through W_rec. By line 157 it acts as W_rec h^{t-1},
        so its transpose goes back.
    21. Notation: W_α ∂b_{t+1}^α and the like (lines 152 and 154). By lines 148-150 W_α
        is D K × R, and W_αᵀ goes back. (Wrong if D K = R, where it can be read.)
    22. Notation: the products with h^t (1 - h^t) (lines 154, 156-158) are elementwise,
        and come first: W_recᵀ (∂h ⊙ h ⊙ (1 - h)). From left to right, (W_recᵀ ∂h) ⊙
        h ⊙ (1 - h), line 154 is wrong.
    23. Missing: ∂h^0, if h^0 is learned, which is line 154 at t = 0.
    24. Missing: the sums of lines 148-150 and 156-158 start at 0.

    Right, given 22. and 24., are lines 148-150 (the biases of frame t are made from
    h^{t-1}, at t = 1 from h^0) and 156-158 (x_t is seen by h^t, which frame t + 1 is
    the first to be given; at t = T they add 0).
    """
    T, parts = len(x), ("alpha", "mu", "sigma")
    h = [h_0]  # erratum 14
    for t in range(1, T + 1):
        h.append(sigmoid(W_in @ x[t - 1] + W_rec @ h[t - 1] + b_h))

    log_p = 0.0
    grad = {"b_h": np.zeros_like(b_h), "W_rec": np.zeros_like(W_rec)}  # erratum 24
    grad["W_in"] = np.zeros_like(W_in)
    for part, W_p in zip(parts, W_context, strict=True):
        grad[f"W_{part}"] = np.zeros_like(W_p)
    dh = np.zeros_like(h_0)  # ∂h^T: erratum 19
    for t in range(T, 0, -1):
        b_t = tuple(
            b_p + (W_p @ h[t - 1]).reshape(b_p.shape)
            for b_p, W_p in zip(b, W_context, strict=True)
        )
        log_p_t, frame = rnade_gradients(x[t - 1], W, c, rho, V, b_t)  # erratum 16
        log_p += log_p_t
        for name, of_frame in frame.items():
            grad[name] = grad.get(name, 0.0) + of_frame  # errata 17, 18

        dpsi = dh * h[t] * (1.0 - h[t])  # erratum 22
        grad["b_h"] += dpsi
        grad["W_rec"] += np.outer(dpsi, h[t - 1])
        grad["W_in"] += np.outer(dpsi, x[t - 1])

        dh = W_rec.T @ dpsi  # ∂h^{t-1}: errata 19, 20
        for part, W_p in zip(parts, W_context, strict=True):
            db_p = frame[f"b_{part}"].ravel()
            grad[f"W_{part}"] += np.outer(db_p, h[t - 1])
            dh = dh + W_p.T @ db_p  # erratum 21
    grad["h_0"] = dh  # erratum 23
    return log_p, grad
