/** Name of the validator of page tokens, which no entry of `identity` may have: it is in the chain by itself. */
export const managementPlane = 'management-plane'
/** What its subjects begin with: operators are nobody else. */
export const operatorNamespace = 'operator:'

/** `typ` of page tokens (RFC 7515, section 4.1.9), which no other token of ours has. */
export const pageType = 'postern-page+jwt'
/** `aud` of page tokens, which no other token of ours has. */
export const pageAudience = 'postern-page'
/** Signs page tokens and nothing else, so that no other key of ours ever verifies one. */
export const pageAlgorithm = 'RS256'
/** Seconds: no page token lives longer. */
export const maxPageLife = 60
