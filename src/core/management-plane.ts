/** Name of the validator of page tokens, which no entry of `identity` may have: it is in the chain by itself. */
export const managementPlane = 'management-plane'
/** What its subjects begin with: operators are nobody else. */
export const operatorNamespace = 'operator:'
