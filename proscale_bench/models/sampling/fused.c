/* The core of multi-scale deformable attention and its gradient, in one pass over the queries. See fused.py.
 *
 * Tensors are contiguous and float32: values [B, S, heads, d], locations [B, N, heads, L * P, 2] as fractions,
 * logits and shares [B, N, heads, L * P], output [B, N, heads, d]. A slice is one head of one image: it alone
 * writes what is its own, so that slices may run at once and the sums have one order however many threads there are. */
#include <math.h>
#include <stdint.h>

#define NEAREST(x, last) ((x) > 0.0f ? ((x) < (last) ? (x) : (last)) : 0.0f) /* 0 for what is no number */

typedef struct {
    int64_t images, queries, heads, channels, tokens, levels, points;
} Shape;

typedef struct {
    int64_t height, width, first; /* in pixels; the token of the first pixel */
} Level;

/* The four pixels around each of a query's places, as arrays over its lanes (level, point). Outside its level a pixel
 * has no share, and the nearest inside stands for it. */
typedef struct {
    float *width, *height, *first;                           /* of the level */
    float *near_x, *far_x, *near_y, *far_y;                  /* shares of the pixels */
    float *near_x_in, *far_x_in, *near_y_in, *far_y_in;      /* 1 if the pixel is inside */
    int32_t *above_left, *above_right, *below_left, *below_right; /* tokens */
} Places;

#define FLOATS 11
#define TOKENS 4

static inline Places places_of(const Shape *shape, const Level *levels, float *floats, int32_t *tokens) {
    int64_t lanes = shape->levels * shape->points;
#define F(i) (floats + (i) * lanes)
    Places at = {F(0), F(1), F(2), F(3), F(4), F(5), F(6), F(7), F(8), F(9), F(10),
                 tokens, tokens + lanes, tokens + 2 * lanes, tokens + 3 * lanes};
#undef F
    for (int64_t lane = 0; lane < lanes; lane++) {
        Level level = levels[lane / shape->points];
        at.width[lane] = (float)level.width, at.height[lane] = (float)level.height, at.first[lane] = (float)level.first;
    }
    return at;
}

static inline void find(Places at, const float *restrict locations, int64_t lanes) {
#pragma omp simd
    for (int64_t lane = 0; lane < lanes; lane++) {
        float x = locations[2 * lane] * at.width[lane] - 0.5f, y = locations[2 * lane + 1] * at.height[lane] - 0.5f;
        float left = floorf(x), above = floorf(y), right = left + 1.0f, below = above + 1.0f;
        float left_in = NEAREST(left, at.width[lane] - 1.0f), right_in = NEAREST(right, at.width[lane] - 1.0f);
        float above_in = NEAREST(above, at.height[lane] - 1.0f), below_in = NEAREST(below, at.height[lane] - 1.0f);
        at.near_x_in[lane] = left == left_in ? 1.0f : 0.0f, at.far_x_in[lane] = right == right_in ? 1.0f : 0.0f;
        at.near_y_in[lane] = above == above_in ? 1.0f : 0.0f, at.far_y_in[lane] = below == below_in ? 1.0f : 0.0f;
        at.near_x[lane] = (1.0f - (x - left)) * at.near_x_in[lane], at.far_x[lane] = (x - left) * at.far_x_in[lane];
        at.near_y[lane] = (1.0f - (y - above)) * at.near_y_in[lane], at.far_y[lane] = (y - above) * at.far_y_in[lane];
        int32_t line = (int32_t)(at.first[lane] + above_in * at.width[lane]);
        int32_t next = (int32_t)(at.first[lane] + below_in * at.width[lane]);
        at.above_left[lane] = line + (int32_t)left_in, at.above_right[lane] = line + (int32_t)right_in;
        at.below_left[lane] = next + (int32_t)left_in, at.below_right[lane] = next + (int32_t)right_in;
    }
}

static inline void softmax(const float *restrict logits, float *restrict shares, int64_t lanes) {
    float most = logits[0], sum = 0.0f;
    for (int64_t lane = 1; lane < lanes; lane++) most = logits[lane] > most ? logits[lane] : most;
    for (int64_t lane = 0; lane < lanes; lane++) sum += shares[lane] = expf(logits[lane] - most);
    for (int64_t lane = 0; lane < lanes; lane++) shares[lane] /= sum;
}

static inline void forward_slice(const Shape *shape, int64_t d, Places at, const float *restrict values,
                                 const float *restrict locations, const float *restrict logits, int normalise,
                                 float *restrict shares, float *restrict output, int64_t slice) {
    int64_t image = slice / shape->heads, head = slice % shape->heads, lanes = shape->levels * shape->points;
    int64_t stride = shape->heads * d;
    const float *rows = values + image * shape->tokens * stride + head * d;
    for (int64_t query = 0; query < shape->queries; query++) {
        int64_t index = (image * shape->queries + query) * shape->heads + head;
        float *restrict share = shares + index * lanes;
        float sum[d];
        find(at, locations + index * lanes * 2, lanes);
        if (normalise) softmax(logits + index * lanes, share, lanes);
        for (int64_t c = 0; c < d; c++) sum[c] = 0.0f;
        for (int64_t lane = 0; lane < lanes; lane++) {
            float above = share[lane] * at.near_y[lane], below = share[lane] * at.far_y[lane];
            float a = above * at.near_x[lane], b = above * at.far_x[lane];
            float e = below * at.near_x[lane], f = below * at.far_x[lane];
            const float *row_a = rows + at.above_left[lane] * stride, *row_b = rows + at.above_right[lane] * stride;
            const float *row_e = rows + at.below_left[lane] * stride, *row_f = rows + at.below_right[lane] * stride;
#pragma omp simd
            for (int64_t c = 0; c < d; c++) sum[c] += a * row_a[c] + b * row_b[c] + e * row_e[c] + f * row_f[c];
        }
        for (int64_t c = 0; c < d; c++) output[index * d + c] = sum[c];
    }
}

static inline void backward_slice(const Shape *shape, int64_t d, Places at, const float *restrict values,
                                  const float *restrict locations, const float *restrict shares,
                                  const float *restrict slopes, int normalise, float *restrict of_values,
                                  float *restrict of_locations, float *restrict of_logits, int64_t slice) {
    int64_t image = slice / shape->heads, head = slice % shape->heads, lanes = shape->levels * shape->points;
    int64_t stride = shape->heads * d, start = image * shape->tokens * stride + head * d;
    const float *rows = values + start;
    float *of_rows = of_values + start;
    for (int64_t token = 0; token < shape->tokens; token++)
        for (int64_t c = 0; c < d; c++) of_rows[token * stride + c] = 0.0f;
    for (int64_t query = 0; query < shape->queries; query++) {
        int64_t index = (image * shape->queries + query) * shape->heads + head;
        const float *restrict share = shares + index * lanes, *slope = slopes + index * d;
        float *restrict of_place = of_locations + index * lanes * 2, *restrict of_logit = of_logits + index * lanes;
        float mean = 0.0f;
        find(at, locations + index * lanes * 2, lanes);
        for (int64_t lane = 0; lane < lanes; lane++) {
            float near_x = at.near_x[lane], far_x = at.far_x[lane], near_y = at.near_y[lane], far_y = at.far_y[lane];
            float near_x_in = at.near_x_in[lane], far_x_in = at.far_x_in[lane];
            float near_y_in = at.near_y_in[lane], far_y_in = at.far_y_in[lane];
            float above = share[lane] * near_y, below = share[lane] * far_y;
            int64_t a = at.above_left[lane] * stride, b = at.above_right[lane] * stride;
            int64_t e = at.below_left[lane] * stride, f = at.below_right[lane] * stride;
            float of_x = 0.0f, of_y = 0.0f, of_share = 0.0f;
#pragma omp simd reduction(+ : of_x, of_y, of_share)
            for (int64_t c = 0; c < d; c++) {
                float left = rows[a + c] * near_y + rows[e + c] * far_y;
                float right = rows[b + c] * near_y + rows[f + c] * far_y;
                float top = rows[a + c] * near_x + rows[b + c] * far_x;
                float bottom = rows[e + c] * near_x + rows[f + c] * far_x;
                of_x += slope[c] * (right * far_x_in - left * near_x_in);
                of_y += slope[c] * (bottom * far_y_in - top * near_y_in);
                of_share += slope[c] * (left * near_x + right * far_x);
                of_rows[a + c] += above * near_x * slope[c]; /* two of the four may be the same */
                of_rows[b + c] += above * far_x * slope[c];
                of_rows[e + c] += below * near_x * slope[c];
                of_rows[f + c] += below * far_x * slope[c];
            }
            of_place[2 * lane] = of_x * share[lane] * at.width[lane];
            of_place[2 * lane + 1] = of_y * share[lane] * at.height[lane];
            of_logit[lane] = of_share; /* of the share, so far */
            mean += share[lane] * of_share;
        }
        for (int64_t lane = 0; normalise && lane < lanes; lane++)
            of_logit[lane] = share[lane] * (of_logit[lane] - mean);
    }
}

/* A width that the compiler knows is a row of registers; any other is a loop. */
#define SLICES(call)                                                                                                  \
    int64_t lanes = shape->levels * shape->points;                                                                    \
    float floats[FLOATS * lanes];                                                                                     \
    int32_t tokens[TOKENS * lanes];                                                                                   \
    Places at = places_of(shape, levels, floats, tokens);                                                             \
    for (int64_t slice = first; slice < last; slice++) switch (shape->channels) {                                     \
            case 8: call(8); break;                                                                                   \
            case 16: call(16); break;                                                                                 \
            case 32: call(32); break;                                                                                 \
            default: call(shape->channels);                                                                           \
        }

void forward(const Shape *shape, const Level *levels, const float *values, const float *locations,
             const float *logits, int32_t normalise, float *shares, float *output, int64_t first, int64_t last) {
#define CALL(d) forward_slice(shape, d, at, values, locations, logits, normalise, shares, output, slice)
    SLICES(CALL)
#undef CALL
}

void backward(const Shape *shape, const Level *levels, const float *values, const float *locations,
              const float *shares, const float *slopes, int32_t normalise, float *of_values, float *of_locations,
              float *of_logits, int64_t first, int64_t last) {
#define CALL(d)                                                                                                       \
    backward_slice(shape, d, at, values, locations, shares, slopes, normalise, of_values, of_locations, of_logits, slice)
    SLICES(CALL)
#undef CALL
}
