/** What memory can answer costs no promise. */
export type Soon<T> = T | Promise<T>
