import type { Json } from '../core/json.ts'

// Members of an answer as a table shows them.

/** `-` where there is nothing. */
export const text = (value: Json | undefined): string => (value === undefined || value === null || value === '' ? '-' : String(value))
/** A list, joined with commas. */
export const joined = (value: Json | undefined): string => text(Array.isArray(value) ? value.join(',') : value)
/** A time of RFC 3339, to the minute. */
export const minute = (value: Json | undefined): string => text(value).replace(/:\d\d\.\d{3}Z$/, 'Z')
